"""What the machinery keeps about its own work: queues, leases, marks, and the age at which rows leave."""
