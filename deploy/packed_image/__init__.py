"""The packed image: a bundle as one file for flash, its parts for updates, and its signature.

`firmware_stubs/SPEC.md` has every byte; `firmware_stubs/src/kt_bundle.c` reads it on the device.

Example:
    >>> from deploy.packed_image import encode, pack_bundle, read_image
    >>> data = encode(pack_bundle(bundle, version=3))
    >>> [task.name for task in read_image(data).tasks]
    ['digit', 'angle']
"""

from deploy.packed_image.c_array import c_array
from deploy.packed_image.decoding import read_image
from deploy.packed_image.delta import check_base, pack_branch
from deploy.packed_image.encoding import encode
from deploy.packed_image.error import ImageError
from deploy.packed_image.packing import pack_bundle
from deploy.packed_image.parts import PackedImage, PackedNode, PackedTask, PackedTensor

__all__ = [
    "ImageError",
    "PackedImage",
    "PackedNode",
    "PackedTask",
    "PackedTensor",
    "c_array",
    "check_base",
    "encode",
    "pack_branch",
    "pack_bundle",
    "read_image",
]
