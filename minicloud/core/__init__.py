"""What every service stands on. Knows nothing of clouds, HTTP or hosts."""
