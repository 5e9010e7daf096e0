"""What starts: console, headless engine, attachment, demo, plain mode, pictures."""
