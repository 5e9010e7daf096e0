"""What lies between a log on disk and the objects that honeypots wrote into it."""
