"""Smaller and faster networks that recognise as well: prune, distil, quantise."""
