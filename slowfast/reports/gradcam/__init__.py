"""Where in a clip a network found what it says: Grad-CAM of every family, and its pictures.

Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391, with time as a third axis of the maps.
"""
