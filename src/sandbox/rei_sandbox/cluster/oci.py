"""Images as a tar in the OCI image layout, which containerd imports.

Source: the OCI Image Layout Specification. Each blob stands in it once, however many of the images have
it: most layers of Rei's images are those of others too.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

NAME: Final = "org.opencontainers.image.ref.name"


def write_tar(images: Mapping[str, Path], into: IO[bytes]) -> None:
    """Write images to a stream: their names, and the folder of each, as buildah's `dir:` writes it
    (manifest.json, and the blobs by digest)."""
    described, blobs = [], dict[str, Path]()
    for name, folder in images.items():
        manifest = folder / "manifest.json"
        document = json.loads(manifest.read_bytes())
        digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
        described.append(
            {
                "mediaType": document["mediaType"],
                "digest": f"sha256:{digest}",
                "size": manifest.stat().st_size,
                "annotations": {NAME: name},
            }
        )
        blobs[digest] = manifest
        for part in (document["config"], *document["layers"]):
            digest = part["digest"].removeprefix("sha256:")
            blobs[digest] = folder / digest
    with tarfile.open(fileobj=into, mode="w|") as tar:
        _add(tar, "oci-layout", {"imageLayoutVersion": "1.0.0"})
        _add(tar, "index.json", {"schemaVersion": 2, "manifests": described})
        for digest, blob in blobs.items():
            tar.add(blob, arcname=f"blobs/sha256/{digest}")


def _add(tar: tarfile.TarFile, name: str, document: object) -> None:
    text = json.dumps(document).encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    tar.addfile(entry, io.BytesIO(text))
