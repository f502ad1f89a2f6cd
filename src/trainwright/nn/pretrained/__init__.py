"""Language models that others have trained, of the library transformers."""
