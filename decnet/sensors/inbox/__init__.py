"""A folder that others put mails, webhooks and lists into: each file is read once, and moved when what it gave is stored."""
