"""Image captioning and visual question answering on frozen timm backbones."""

__version__ = "0.1.0"
