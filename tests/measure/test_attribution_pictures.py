import numpy as np

from hitsr.measure.attribution_pictures import contact_sheet, overlay

GREY = np.full((10, 12, 3), 128, dtype=np.uint8)


def test_overlay_shows_the_window_the_map_and_its_density():
    importance = np.zeros((10, 12))
    importance[2, 3], importance[7, 8] = 1, 0.5
    panels = overlay(GREY, importance, (4, 6, 8), 2)
    assert panels.shape == (20, 3 * 24, 3)
    framed, mapped, spread = np.split(panels, 3, axis=1)
    assert (framed[6, 4:12] == (255, 0, 0)).all()
    assert (framed[0, 0] == 128).all()
    assert (mapped[0, 0] == 192).all()  # half grey, half white: importance 0
    assert (mapped[4:6, 6:8] == (128, 64, 64)).all()  # dark red
    assert (mapped[14:16, 16:18] == (192, 64, 64)).all()  # red
    assert spread[5, 7, 1] < spread[19, 0, 1]


def test_contact_sheet_lays_out_rows_of_one_height():
    tiles = [[GREY, GREY[:5]], [GREY]]
    sheet = contact_sheet(tiles, [["a", "b"], ["c"]])
    height = (256 + 20) * 2
    assert sheet.shape == (height, 307 + 614, 3)
    assert (sheet[-1, -1] == 255).all()
    assert (sheet[276 - 1, -1] == 128).all()
