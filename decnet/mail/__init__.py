"""What an e-mail's bytes say, as facts without addresses and without text; pure. Who received it is left to its readers."""
