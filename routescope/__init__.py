"""RouteScope shows what every expert of a Mixture-of-Experts language model really does.

Installed, the folders `app`, `analysis`, `model` and `data` of the repository lie in this package.
"""

__version__ = "0.1.0"
