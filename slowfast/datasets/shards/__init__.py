"""Videos in tar files that are read from front to back, laid out as for ``webdataset``."""
