import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from twofold.errors import FormatError
from twofold.formats import images


def picture(height=37, width=53, seed=0):
    """Smooth colours and a hard edge, so that every way to scale chroma shows."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([rows * 6 % 256, columns * 4 % 256, (rows + columns) % 2 * 200], axis=2).astype(np.uint8)
    pixels[5:20, 7:30] = rng.integers(0, 256, 3)
    return pixels


def saved(pixels, kind, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def by_pillow(data):
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [30, 75, 95, 100])
def test_jpeg_gives_the_bytes_that_pillow_gives(subsampling, progressive, quality):
    for shape in [(37, 53), (224, 224), (1, 1), (8, 300)]:
        data = saved(picture(*shape), "JPEG", subsampling=subsampling, progressive=progressive, quality=quality)
        np.testing.assert_array_equal(images.decode(data), by_pillow(data))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_of_other_colours_gives_the_bytes_that_pillow_gives(mode, progressive):
    data = saved(picture(), "JPEG", mode, progressive=progressive)
    np.testing.assert_array_equal(images.decode(data), by_pillow(data))


def test_jpeg_that_holds_rgb_and_one_with_odd_subsampling():
    for options in [{"keep_rgb": True, "subsampling": 0}, {"restart_marker_blocks": 2}]:
        data = saved(picture(), "JPEG", **options)
        np.testing.assert_array_equal(images.decode(data), by_pillow(data))
    data = images.simplejpeg.encode_jpeg(picture(), colorsubsampling="411")
    np.testing.assert_array_equal(images.decode(data), by_pillow(data))


def test_junk_that_pillow_puts_up_with_is_put_up_with():
    data = saved(picture(), "JPEG")
    junk = data[:2] + b"\x00\x01" + data[2:]
    np.testing.assert_array_equal(images.decode(data + b"more"), by_pillow(data))
    try:
        expected = by_pillow(junk)
    except OSError:
        with pytest.raises(FormatError):
            images.decode(junk)
    else:
        np.testing.assert_array_equal(images.decode(junk), expected)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP"])
def test_kinds_without_loss_read_back(kind):
    pixels = np.repeat(np.arange(64, dtype=np.uint8).reshape(8, 8)[:, :, None], 3, axis=2)
    data = saved(pixels, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert images.signature(data[:12]) == kind
    np.testing.assert_array_equal(images.decode(memoryview(data)), pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_every_mode_becomes_rgb_of_8_bits(mode):
    data = saved(picture(), "PNG", mode)
    pixels = images.decode(data)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, by_pillow(data))


def test_transparent_colours_of_a_palette_are_dropped_without_a_word():
    file = io.BytesIO()
    image = Image.fromarray(picture()).convert("P")
    image.save(file, "PNG", transparency=bytes(range(256)))
    np.testing.assert_array_equal(images.decode(file.getvalue()), np.array(image.convert("RGB")))


def test_pillow_is_not_asked_for_an_ordinary_jpeg(monkeypatch):
    monkeypatch.setattr(images, "_decode_by_pillow", None)
    assert images.decode(saved(picture(), "JPEG")).shape == (37, 53, 3)


def test_16_bits_keep_the_upper_8():
    file = io.BytesIO()
    grey = (np.arange(12, dtype=np.uint16) * 5000).reshape(3, 4)
    Image.fromarray(grey).save(file, "PNG")
    np.testing.assert_array_equal(images.decode(file.getvalue())[:, :, 1], grey >> 8)


def test_orientation_in_exif_is_left_alone():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert images.decode(saved(picture(), "JPEG", exif=exif.tobytes())).shape == (37, 53, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_pixels_go_straight_into_a_batch(kind):
    data = saved(picture(), kind)
    batch = np.zeros((2, 37, 53, 3), np.uint8)
    assert images.decode(data, lambda shape: batch[1] if shape == (37, 53, 3) else None).base is batch
    np.testing.assert_array_equal(batch[1], by_pillow(data))
    assert not batch[0].any()
    np.testing.assert_array_equal(images.decode(data, lambda _: None), by_pillow(data))


def test_what_is_written_reads_back():
    pixels = picture()
    np.testing.assert_array_equal(images.decode(images.encode_png(pixels)), pixels)
    assert images.encode_jpeg(pixels) == images.encode_jpeg(pixels.copy())
    assert np.abs(images.decode(images.encode_jpeg(pixels[5:20, 7:30])).astype(int) - pixels[5, 7]).max() < 8
    for wrong in [pixels[:, :, 0], pixels.astype(np.float32), pixels[:0]]:
        with pytest.raises(FormatError, match=r"expected pixels \[height, width, 3\]"):
            images.encode_png(wrong)
        with pytest.raises(FormatError, match=r"expected pixels \[height, width, 3\]"):
            images.encode_jpeg(wrong)


def test_threads_decode_the_same():
    files = [saved(picture(seed=seed), "JPEG") for seed in range(20)]
    with ThreadPoolExecutor(4) as pool:
        for pixels, data in zip(pool.map(images.decode, files), files, strict=True):
            np.testing.assert_array_equal(pixels, by_pillow(data))


def png_claiming(width, height):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def jpeg_claiming(width, height):
    data = bytearray(saved(picture(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("data", [png_claiming(10_000, 8_000), jpeg_claiming(10_000, 8_000)], ids=["png", "jpeg"])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(data):
    with pytest.raises(FormatError, match=r"10000 x 8000 pixels, expected at most 67108864"):
        images.decode(data)


def test_an_image_that_claims_more_than_pillow_bears_is_refused():
    with pytest.raises(FormatError, match="cannot be decoded"):
        images.decode(png_claiming(60_000, 60_000))


def test_a_jpeg_of_endless_scans_is_refused():
    data = saved(picture(), "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    with pytest.raises(FormatError, match="scans, expected at most 500"):
        images.decode(data[:scan] + data[scan:-2] * 501 + b"\xff\xd9")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP"])
def test_a_file_cut_short_is_refused(kind):
    data = saved(picture(), kind)
    for length in [13, len(data) // 2]:
        with pytest.raises(FormatError, match=rf"The {kind} of {length} bytes cannot be decoded"):
            images.decode(data[:length])


def test_what_is_no_image_is_named_by_its_bytes():
    for data in [b"", b"II*\0 a TIFF", b"%!PS-Adobe-3.0 EPSF-3.0\n"]:
        with pytest.raises(FormatError, match="expected an image: JPEG, PNG"):
            images.decode(data)
        assert images.signature(data) is None


FILES = [saved(picture(9, 11), kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF")] + [
    saved(picture(9, 11), "JPEG", "CMYK", progressive=True)
]


@given(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=4)), min_size=1, max_size=4),
    st.integers(0, 2000),
)
@example(FILES[0], [(0, b"")], 4)
def test_broken_images_are_pixels_or_a_format_error(data, changes, cut):
    for place, change in changes:
        where = place % len(data)
        data = data[:where] + change + data[where + len(change) :]
    data = data[: len(data) - cut % len(data)]
    try:
        pixels = images.decode(data)
    except FormatError:
        return
    assert pixels.shape[2] == 3


@given(st.binary() | st.builds(bytes.__add__, st.sampled_from([file[:12] for file in FILES]), st.binary()))
def test_any_bytes_are_pixels_or_a_format_error(data):
    try:
        images.decode(data)
    except FormatError:
        return
