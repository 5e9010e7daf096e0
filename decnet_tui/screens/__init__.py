"""The console's views, one file each."""
