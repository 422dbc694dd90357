"""The same drivers in memory and a folder: for tests, and for CI users without root."""
