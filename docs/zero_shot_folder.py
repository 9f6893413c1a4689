"""Zero-shot classification of a folder of images, without torch: python zero_shot_folder.py EXPORTED IMAGES CLASS CLASS..."""

import sys
from pathlib import Path

from medzoo.data.images.listing import list_images
from medzoo.data.text.prompts import DEFAULT_TEMPLATES
from medzoo.export import OnnxModel

exported, images, *classes = sys.argv[1:]
text, image = OnnxModel(f"{exported}/text.onnx"), OnnxModel(f"{exported}/zeroshot_open.onnx")
vectors = text.class_embeddings({name: [sentence.format(name) for sentence in DEFAULT_TEMPLATES] for name in classes})
names, paths = zip(*list_images([Path(images)]), strict=True)
for name, row in zip(names, image.predict(paths, class_embeddings=vectors)["probabilities"], strict=True):
    print(f"{name}  {classes[row.argmax()]} {row.max():.3f}")
