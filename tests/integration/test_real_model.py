"""The embedded model in a real window, in a process where neither torch nor OpenGL was loaded."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import time
import napari
import numpy as np
from qtpy.QtTest import QTest
import napari_sam2
from napari_sam2 import sample_data

data, options, _ = sample_data.cell_migration()[0]
viewer = napari.Viewer(show=True)
layer = viewer.add_image(data[:4], scale=(1, 0.5, 0.5), **options)
annotator = napari_sam2.annotate(viewer, layer)
assert "torch" not in sys.modules, "the window opens first"
end = time.monotonic() + 300
while annotator.session.environment is None and time.monotonic() < end:
    QTest.qWait(50)
assert annotator.session.environment is not None, "then the network is loaded, unasked"
viewer.screenshot(canvas_only=False, flash=False)
annotator.points_layer.add((0, 74, 34))
annotator.wait(timeout=500)
mask = annotator.labels_layer.data[0] == 1
assert mask[74, 34], "the mask lies under the click"
assert 200 < mask.sum() < 800, mask.sum()
annotator.propagate("both")
annotator.wait(timeout=500)
assert annotator.session.objects[0].mask_frames == (0, 1, 2, 3)
for frame_idx in range(4):
    labels = annotator.session.labels(frame_idx)
    np.testing.assert_array_equal(annotator.labels_layer.data[frame_idx], labels)
print(annotator.session.environment, mask.sum())
viewer.close()
"""


def test_click_and_propagate() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        timeout=590,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:]
