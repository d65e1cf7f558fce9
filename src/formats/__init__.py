"""Bytes to arrays and back, one file a format and one table of them. Nothing here reads or writes anything."""
