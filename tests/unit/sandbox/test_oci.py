"""Images as one tar: what containerd reads, with each blob once."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from rei_sandbox.cluster import oci


def image(folder: Path, *layers: bytes) -> Path:
    """As buildah's `dir:` writes it."""
    folder.mkdir()
    blobs = {hashlib.sha256(blob).hexdigest(): blob for blob in (folder.name.encode(), *layers)}
    for digest, blob in blobs.items():
        (folder / digest).write_bytes(blob)
    config, *others = ({"digest": f"sha256:{digest}"} for digest in blobs)
    manifest = {"mediaType": "application/x", "config": config, "layers": others}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_layer_that_two_images_have_is_written_once(tmp_path: Path) -> None:
    stream = io.BytesIO()
    images = {
        "a:dev": image(tmp_path / "a", b"base", b"one"),
        "b:dev": image(tmp_path / "b", b"base"),
    }
    oci.write_tar(images, stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        found = {member.name: tar.extractfile(member) for member in tar}
        content = {name: file.read() for name, file in found.items() if file}
    assert len(content) == 2 + 2 * 2 + 2, "layout, index; manifest and config of each; two layers"
    for name, blob in content.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}"
    described = json.loads(content["index.json"])["manifests"]
    assert [one["annotations"][oci.NAME] for one in described] == ["a:dev", "b:dev"]
    for one in described:
        manifest = json.loads(content[f"blobs/sha256/{one['digest'].removeprefix('sha256:')}"])
        assert one["size"] == len(json.dumps(manifest))
        for part in (manifest["config"], *manifest["layers"]):
            assert f"blobs/sha256/{part['digest'].removeprefix('sha256:')}" in content
