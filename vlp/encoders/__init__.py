"""Image and text towers, the dual encoder, tokenizers."""
