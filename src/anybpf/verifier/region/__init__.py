"""What may be read and written through a pointer, one module a kind of memory."""
