"""Floatway: distributed virtual routing with floating IPs, and the explanation of every packet's path."""

__version__ = "0.1.0"
