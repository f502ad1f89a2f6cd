"""Networks that others have trained: decoders of transformers, images by it and by timm."""
