"""Zero-shot classification of a folder of images, without torch: python zero_shot_folder.py EXPORTED IMAGES CLASS CLASS..."""

import sys
from pathlib import Path

from medzoo.export import OnnxModel

exported, images, *classes = sys.argv[1:]
text, image = OnnxModel(f"{exported}/text.onnx"), OnnxModel(f"{exported}/zeroshot_open.onnx")
vectors = text.class_embeddings({name: [f"an image of {name}", f"a photo showing {name}."] for name in classes})
paths = sorted(path for path in Path(images).iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif"))
for path, row in zip(paths, image.predict(paths, class_embeddings=vectors)["probabilities"], strict=True):
    print(f"{path.name}  {classes[row.argmax()]} {row.max():.3f}")
