"""A packed image becomes files again: its nodes, and everything else as JSON.

No bundle: an image holds no golden vectors, scores or counts of parameters.
"""

from __future__ import annotations

import json
from pathlib import Path

from deploy.packed_image.describing import image_json
from deploy.packed_image.error import ImageError
from deploy.packed_image.parts import PackedImage
from quantize.storage.folder import check_name, write_folder
from quantize.storage.parts import BundleError

DESCRIPTION_FILE = "image.json"


def unpack_image(image: PackedImage, folder: Path) -> Path:
    """Write `image.json` and `nodes/<name>.tflite`, all of it or nothing.

    Args:
        image: The parts of an image.
        folder: A new or empty folder.

    Returns:
        The folder, as an absolute path.

    Raises:
        ImageError: A node's name is none of a file, or the folder cannot be written.
    """
    text = json.dumps(image_json(image), indent=2, allow_nan=False) + "\n"
    files = {DESCRIPTION_FILE: text.encode("utf-8")}
    names: set[str] = set()
    try:
        for node in image.nodes:
            check_name(node.name, "node")
            if node.name.lower() in names:
                raise ImageError(
                    "STRING",
                    f"The names of nodes must differ in more than case, because they become names "
                    f"of files; '{node.name}' occurs twice. Pack the bundle again.",
                )
            names.add(node.name.lower())
            if node.data is not None:
                files[f"nodes/{node.name}.tflite"] = node.data
        return write_folder(folder, files, overwrite=False)
    except BundleError as error:
        raise ImageError("STRING", str(error)) from error
