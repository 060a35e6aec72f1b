"""The control plane's pure core: entities, the immutable model, the rules (``decide``), how they are shown."""
