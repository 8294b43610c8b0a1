"""Models: backbones with their starting weights, and classifiers on top."""
