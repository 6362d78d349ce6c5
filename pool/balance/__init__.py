"""Which replica gets the next call, and who may wait for it: decisions without any I/O."""
