"""Models in and out: folders of ours, and what open_clip, timm, transformers and ONNX runtimes read."""

from vlp.hub.folder import load_dual, load_image_encoder, load_text_parts, read_config, save_model, save_text_tower

__all__ = ["load_dual", "load_image_encoder", "load_text_parts", "read_config", "save_model", "save_text_tower"]
