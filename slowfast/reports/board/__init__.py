"""What TensorBoard shows beside scalars. Event files are written by the caller's writer."""
