"""Hands what the program exports to other people's readers, and takes it back.

    python tests/interop/readers.py QUALM

QUALM is the program's binary. `.ci/setup --interop` makes the virtual environment that this runs in.
"""

import io
import json
import resource
import signal
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import highdicom
import jsonschema
import nibabel
import numpy
import pydicom
import shapely
import shapely.geometry
import tifffile
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from safetensors.numpy import load_file

QUALM = sys.argv[1]
RANDOM = numpy.random.default_rng(7)


def qualm(*arguments, fails=False, **options):
    """Runs the program; what it printed, or, where it is to fail, its error."""
    done = subprocess.run([QUALM, *map(str, arguments)], capture_output=True, text=True, check=False, **options)
    if fails:
        assert done.returncode != 0, f"{arguments} should have failed: {done.stdout}"
        return done.stderr
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


def export(project, form, out, *arguments):
    return json.loads(qualm("export", project, "--format", form, "--out", out, "--json", *arguments))


def shapes(rows, columns, classes=1):
    """A label of discs, with holes, regions that touch by corners, and single pixels."""
    y, x = numpy.mgrid[:rows, :columns]
    label = numpy.zeros((rows, columns), numpy.uint8)
    for number in range(4):
        centre, radius = RANDOM.uniform((0, 0), (rows, columns)), RANDOM.uniform(4, rows / 4)
        distance = numpy.hypot(y - centre[0], x - centre[1])
        label[(distance < radius) & (distance > (number % 2) * radius / 2)] = 1 + number % classes
    speckled = (RANDOM.random(label.shape) < 0.4) & (y < rows // 5) & (x < columns // 4)
    label[speckled] = classes
    return label


def picture(label):
    noise = RANDOM.normal(0, 6, (*label.shape, 3))
    return numpy.clip(60 + 60.0 * label[..., None] + noise, 0, 255).astype(numpy.uint8)


def make_images(folder, count, rows, columns, classes=1, labelled=None):
    """A project of images and their labels; of all images, or of some."""
    labels = {}
    given = "masks" if labelled is None else "some"
    for kind in {"images", "masks", given}:
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        label = shapes(rows, columns, classes)
        labels[f"image {number}"] = label
        Image.fromarray(picture(label)).save(folder / "images" / f"image {number}.png")
        Image.fromarray(label).save(folder / "masks" / f"image {number}.png")
        if labelled is not None and number < labelled:
            Image.fromarray(label).save(folder / given / f"image {number}.png")
    qualm("new", folder / "project", "--images", folder / "images", "--masks", folder / given)
    return folder / "project", labels


def the_same_pngs(first, second):
    files = sorted(path.relative_to(first) for path in first.rglob("*.png"))
    assert files and files == sorted(path.relative_to(second) for path in second.rglob("*.png")), (first, second)
    for file in files:
        a, b = (numpy.asarray(Image.open(folder / file)) for folder in (first, second))
        assert (a == b).all(), (file, int((a != b).sum()))


def comes_back(project, form, out, images, temp, *arguments):
    """Exports, imports what was exported into a new project, and compares the labels of both."""
    masks = out / "annotations.json" if form.startswith("coco") else out
    back = temp / f"back-{form}"
    qualm("new", back, "--images", images, "--masks", masks, *arguments)
    for name, root in (("png", project), ("back", back)):
        export(root, "png", temp / f"{form}-{name}")
    the_same_pngs(temp / f"{form}-png", temp / f"{form}-back")
    export(back, form, temp / f"{form}-again")
    for file in (path for path in out.rglob("*") if path.is_file()):
        again = temp / f"{form}-again" / file.relative_to(out)
        if form == "dicom-seg":  # Its identifiers and times are new each time.
            once, again = pydicom.dcmread(file), pydicom.dcmread(again)
            assert once.PixelData == again.PixelData and once.NumberOfFrames == again.NumberOfFrames
        else:
            assert file.read_bytes() == again.read_bytes(), file


def check_png(temp, project, labels):
    assert export(project, "png", temp / "dry", "--dry-run")["images"] == len(labels) and not (temp / "dry").exists()
    export(project, "png", temp / "png")
    export(project, "binary", temp / "binary")
    for name, label in labels.items():
        assert (numpy.asarray(Image.open(temp / "png" / f"{name}.png")) == label).all()
        folder, = (temp / "binary").iterdir()
        assert (numpy.asarray(Image.open(folder / f"{name}.png")) == 255 * (label == 1)).all()
    assert "is there already" in qualm("export", project, "--format", "png", "--out", temp / "png", fails=True)
    export(project, "png", temp / "png", "--overwrite")


def check_coco(temp, project, labels):
    for form in ("coco", "coco-polygons"):
        export(project, form, temp / form)
        with redirect_stdout(io.StringIO()):
            coco = COCO(temp / form / "annotations.json")
            truth = COCO(temp / "coco" / "annotations.json")
        polygons = 0
        for image in coco.loadImgs(coco.getImgIds()):
            label, drawn = labels[Path(image["file_name"]).stem], numpy.zeros((image["height"], image["width"]), int)
            for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
                mask = coco.annToMask(annotation)
                drawn += mask * annotation["category_id"]
                polygons += isinstance(annotation["segmentation"], list)
                assert mask.sum() == annotation["area"], (form, annotation["id"])
                y, x = mask.nonzero()
                box = [x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1]
                assert annotation["bbox"] == box
            assert (drawn == label).all(), (form, image["file_name"])
        assert (polygons > 0) == (form == "coco-polygons")
        results = [{**annotation, "score": 1.0} for annotation in coco.dataset["annotations"]]
        with redirect_stdout(io.StringIO()):
            scored = COCOeval(truth, truth.loadRes(results), "segm")
            scored.params.maxDets = [1000, 1000, 1000]
            scored.evaluate()
            scored.accumulate()
        precision = scored.eval["precision"]
        assert precision[precision > -1].min() == 1.0
    comes_back(project, "coco", temp / "coco", temp / "images", temp)
    comes_back(project, "coco-polygons", temp / "coco-polygons", temp / "images", temp)


def check_geojson(temp, project, labels):
    export(project, "geojson", temp / "geojson")
    for name, label in labels.items():
        drawn = numpy.zeros(label.shape, int)
        y, x = numpy.mgrid[: label.shape[0], : label.shape[1]] + 0.5
        for feature in json.loads((temp / "geojson" / f"{name}.geojson").read_text())["features"]:
            shape = shapely.geometry.shape(feature["geometry"])
            assert shape.is_valid, shapely.is_valid_reason(shape)
            assert feature["properties"]["objectType"] == "annotation"
            inside = shapely.contains_xy(shape, x, y)
            assert inside.sum() == shape.area
            drawn += inside
        assert (drawn == label).all()


def check_tiff(temp, project, labels):
    export(project, "tiff", temp / "tiff")
    for name, label in labels.items():
        with tifffile.TiffFile(temp / "tiff" / f"{name}.tif") as file:
            assert file.is_ome and file.is_imagej and (file.asarray() == label).all()
    comes_back(project, "tiff", temp / "tiff", temp / "images", temp)


def check_volume(temp):
    """A NIfTI volume labelled, trained, exported, opened by nibabel over its source."""
    shape = (64, 48, 9)
    label = numpy.stack([shapes(shape[0], shape[1], 2) for _ in range(shape[2])], 2)
    label[..., 4] = 0
    cosine, sine = numpy.cos(0.2), numpy.sin(0.2)
    for name, steps in {"ras": (0.8, 0.7, 2.5), "lps": (-0.8, -0.7, 2.5), "las": (-0.8, 0.7, -2.5)}.items():
        folder = temp / name
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        affine = numpy.array([[cosine, -sine, 0, 11.5], [sine, cosine, 0, -20.25], [0, 0, 1, 3], [0, 0, 0, 1]])
        affine = affine @ numpy.diag([*steps, 1])
        kind = nibabel.Nifti2Image if name == "lps" else nibabel.Nifti1Image
        values = (200 * label.astype(numpy.int16) - 100 + RANDOM.normal(0, 9, shape)).astype(numpy.int16)
        nibabel.save(kind(values, affine), folder / "images" / "volume.nii.gz")
        nibabel.save(kind(label, affine), folder / "masks" / "volume.nii.gz")
        qualm("new", folder / "project", "--images", folder / "images", "--masks", folder / "masks")
        export(folder / "project", "nifti", folder / "nifti")
        source, found = (nibabel.load(folder / kind / "volume.nii.gz") for kind in ("images", "nifti"))
        assert (source.affine == found.affine).all() and source.header.get_xyzt_units() == found.header.get_xyzt_units()
        assert found.get_data_dtype() == numpy.uint8 and (numpy.asarray(found.dataobj) == label).all(), name
        comes_back(folder / "project", "nifti", folder / "nifti", folder / "images", folder)
        export(folder / "project", "tiff", folder / "tiff")
        with tifffile.TiffFile(folder / "tiff" / "volume.tif") as file:
            assert file.is_ome and file.is_imagej and file.series[0].shape == (shape[2], shape[1], shape[0])
            assert file.imagej_metadata["unit"] == "mm"
        comes_back(folder / "project", "tiff", folder / "tiff", folder / "images", folder)
    quick = ["--set", "budget=steps", "--set", "steps=4", "--set", "passes=4", "--device", "cpu"]
    qualm("round", folder / "project", *quick)
    export(folder / "project", "nifti", folder / "both", "--what", "both", "--device", "cpu")
    source = nibabel.load(folder / "images" / "volume.nii.gz")
    files = sorted((folder / "both" / "predictions").iterdir())
    assert len(files) == 4, files
    for file in files:
        found = nibabel.load(file)
        assert found.shape == shape and (found.affine == source.affine).all()
        if found.get_data_dtype() == numpy.float32:
            values = found.get_fdata()
            assert numpy.isfinite(values).all() and 0 <= values.min() and values.max() <= 1 and values.std() > 0


def check_turned(temp):
    """Volumes that do not say where they lie come back as they were; what lies turned is never taken as if it did not."""
    shape = (40, 36, 5)
    label = numpy.stack([shapes(shape[0], shape[1]) for _ in range(shape[2])], 2)
    for kind, values in (("images", 100 * label.astype(numpy.int16)), ("masks", label)):
        (temp / "analyze" / kind).mkdir(parents=True)
        image = nibabel.AnalyzeImage(values, None)
        image.header.set_zooms((0.5, 0.7, 3.0))
        nibabel.save(image, temp / "analyze" / kind / "old.img")
    folder = temp / "analyze"
    qualm("new", folder / "project", "--images", folder / "images", "--masks", folder / "masks")
    export(folder / "project", "nifti", folder / "nifti")
    assert numpy.allclose(nibabel.load(next((folder / "nifti").iterdir())).header.get_zooms(), (0.5, 0.7, 3.0))
    export(folder / "project", "png", folder / "png")
    pages = sorted((folder / "png").rglob("*.png"))
    assert len(pages) == shape[2]
    found = numpy.asarray(nibabel.load(next((folder / "nifti").iterdir())).dataobj)
    for page, slice_ in enumerate(pages):
        assert (numpy.asarray(Image.open(slice_)) == found[..., page].T).all()
    label, _ = make_series(temp / "prone", slices=1, turned=True)
    folder = temp / "prone"
    (folder / "one").mkdir()
    name = next((folder / "images" / "ct").iterdir()).stem
    Image.fromarray(label[0]).save(folder / "one" / f"{name}.png")
    qualm("new", folder / "project", "--images", folder / "images", "--masks", folder / "one")
    export(folder / "project", "nifti", folder / "nifti")
    error = qualm("new", folder / "back", "--images", folder / "images", "--masks", folder / "nifti", fails=True)
    assert "axes" in error or "lie" in error, error
    export(folder / "project", "dicom-seg", folder / "seg")
    comes_back(folder / "project", "dicom-seg", folder / "seg", folder / "images", folder)


def make_series(folder, slices=6, rows=40, columns=56, turned=False):
    """A series of CT slices, tilted; its label as a volume on the same grid."""
    label = numpy.stack([shapes(rows, columns, 2) for _ in range(slices)])
    (folder / "images" / "ct").mkdir(parents=True)
    (folder / "masks").mkdir()
    study, series, reference = generate_uid(), generate_uid(), generate_uid()
    cosine, sine = numpy.cos(0.3), numpy.sin(0.3)
    row, column, normal = numpy.array([1.0, 0, 0]), numpy.array([0, cosine, sine]), numpy.array([0, -sine, cosine])
    if turned:
        row, column = -row, -column
    for place in range(slices):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        ct = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        ct.SOPClassUID, ct.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ct.SpecificCharacterSet = "ISO_IR 100"
        ct.PatientName, ct.PatientID, ct.PatientBirthDate, ct.PatientSex = "Tést^Patient", "17", "", "O"
        ct.StudyInstanceUID, ct.SeriesInstanceUID, ct.FrameOfReferenceUID = study, series, reference
        ct.StudyDate, ct.StudyTime, ct.StudyID, ct.AccessionNumber = "20200102", "030405", "", ""
        ct.ReferringPhysicianName, ct.Modality, ct.InstanceNumber = "", "CT", place + 1
        ct.ImagePositionPatient = [f"{v:.6f}" for v in (-20.5, 10, 30) + 2.5 * place * normal]
        ct.ImageOrientationPatient = [f"{v:.8f}" for v in (*row, *column)]
        ct.PixelSpacing, ct.SliceThickness = ["0.75", "0.8"], "2.5"
        ct.Rows, ct.Columns, ct.SamplesPerPixel, ct.PhotometricInterpretation = rows, columns, 1, "MONOCHROME2"
        ct.BitsAllocated, ct.BitsStored, ct.HighBit, ct.PixelRepresentation = 16, 16, 15, 1
        ct.RescaleSlope, ct.RescaleIntercept = "1", "-1024"
        ct.PixelData = (1000 + 300 * label[place].astype(numpy.int16)).tobytes()
        ct.save_as(folder / "images" / "ct" / f"{place}.dcm", enforce_file_format=True)
    affine = numpy.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = 0.8 * row, 0.75 * column, 2.5 * normal
    affine[:3, 3] = (-20.5, 10, 30)
    affine = numpy.diag([-1, -1, 1, 1]) @ affine
    nibabel.save(nibabel.Nifti1Image(label.transpose(2, 1, 0), affine), folder / "masks" / "ct.nii.gz")
    return label, affine


def check_dicom(temp):
    """A DICOM series to a segmentation and back; and to NIfTI in the right place."""
    label, affine = make_series(temp)
    qualm("new", temp / "project", "--images", temp / "images", "--masks", temp / "masks")
    export(temp / "project", "dicom-seg", temp / "seg")
    path = temp / "seg" / "ct.dcm"
    plain = pydicom.dcmread(path)
    assert plain.Modality == "SEG" and str(plain.PatientName) == "Tést^Patient" and plain.PatientID == "17"
    segmentation = highdicom.seg.segread(path)
    assert segmentation.segmentation_type == highdicom.seg.SegmentationTypeValues.BINARY
    assert [segment.segmented_property_type.meaning for segment in segmentation.SegmentSequence] == ["Tissue"] * 2
    sources = [pydicom.dcmread(file).SOPInstanceUID for file in sorted((temp / "images" / "ct").iterdir())]
    found = segmentation.get_pixels_by_source_instance(sources, combine_segments=True, assert_missing_frames_are_empty=True)
    assert (found == label).all()
    volume = segmentation.get_volume(combine_segments=True)
    # Whatever order the volume's axes have, each voxel lies where it did.
    for place in numpy.argwhere(numpy.ones(volume.spatial_shape))[::97]:
        column, row, slice_ = numpy.rint(numpy.linalg.inv(affine) @ volume.get_affine("RAS") @ [*place, 1])[:3].astype(int)
        assert volume.array[tuple(place)] == label[slice_, row, column]
    comes_back(temp / "project", "dicom-seg", temp / "seg", temp / "images", temp)
    export(temp / "project", "nifti", temp / "nifti")
    found = nibabel.load(temp / "nifti" / "ct.nii.gz")
    assert numpy.allclose(found.affine, affine, atol=1e-4)
    assert (numpy.asarray(found.dataobj) == label.transpose(2, 1, 0)).all()
    comes_back(temp / "project", "nifti", temp / "nifti", temp / "images", temp)


def check_model(temp):
    """The exported network in PyTorch against the program, on 20 images; and taken back."""
    for encoder, classes, size in (("lite0", 1, (64, 96)), ("unet", 2, (64, 96)), ("lite0", 1, (75, 110))):
        folder = temp / f"{encoder}-{size[0]}"
        project, labels = make_images(folder, 20, *size, classes)
        # Without dropout and mirror images, the passes are the network itself.
        settings = ["budget=steps", "steps=6", "passes=2", "dropout=0", "passes_mirrored=false", f"encoder={encoder}",
                    "geometry=resize", "rows=64", "columns=96"]
        qualm("round", project, "--device", "cpu", *(part for each in settings for part in ("--set", each)))
        export(project, "tiff", folder / "predictions", "--what", "predictions", "--device", "cpu")
        qualm("export-model", project, "--out", folder / "model")
        sys.path.insert(0, str(folder / "model"))
        sys.modules.pop("model", None)
        import model

        network = model.load(folder / "model")
        worst = 0
        for name in labels:
            image = numpy.asarray(Image.open(folder / "images" / f"{name}.png"))
            p = network.probabilities(model.prepare(image, network.description))
            p = torch.nn.functional.interpolate(p, size=size, mode="bilinear")[0].numpy()
            files = sorted((folder / "predictions").glob(f"{name}.probability*.tif"))
            assert len(files) == classes
            found = numpy.stack([tifffile.imread(file) for file in files])
            worst = max(worst, float(numpy.abs(found - p).max()))
        sys.path.pop(0)
        print(f"  {encoder}, {classes} classes, {size[1]} x {size[0]}: at most {worst:.1e} apart on {len(labels)} images")
        # An image that is resized first is rounded to 16 bits at other places.
        assert worst < (1e-4 if size == (64, 96) else 5e-4) and found.std() > 0
        assert network.passes(model.prepare(image, network.description), 2).shape[0] == 2
        report = json.loads(qualm("import-model", project, folder / "model", "--device", "cpu", "--json"))
        assert report["validation"] is not None and report["round"] == 2
        qualm("export-model", project, "--round", "2", "--out", folder / "again")
        once, again = (load_file(folder / name / "model.safetensors") for name in ("model", "again"))
        assert once.keys() == again.keys() and all((once[name] == again[name]).all() for name in once)


def check_faults(temp):
    """A full disk and a folder that cannot be written: one line, and nothing half written."""
    def no_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        # As much as the database's index takes.
        resource.setrlimit(resource.RLIMIT_FSIZE, (33000, 33000))

    for kind in ("images", "masks"):
        (temp / kind).mkdir(parents=True)
        noise = (RANDOM.random((700, 700)) < 0.4).astype(numpy.uint8)
        Image.fromarray(noise).save(temp / kind / "noise.png")
    project = temp / "project"
    qualm("new", project, "--images", temp / "images", "--masks", temp / "masks")
    for form in ("png", "tiff", "nifti", "coco", "geojson", "csv"):
        error = qualm("export", project, "--format", form, "--out", temp / form, fails=True, preexec_fn=no_room)
        assert len(error.strip().splitlines()) == 1 and str(temp / form) in error, error
        assert (temp / form).is_dir() and all(path.is_dir() for path in (temp / form).rglob("*")), form
    (temp / "file").write_text("")
    error = qualm("export", project, "--format", "png", "--out", temp / "file", fails=True)
    assert len(error.strip().splitlines()) == 1, error


def check_json(temp):
    """What commands print with --json is what their schemas say; a watcher sees what happens."""
    project, _ = make_images(temp, 12, 64, 64, labelled=8)
    with subprocess.Popen([QUALM, "watch", str(project), "--json"], stdout=subprocess.PIPE, text=True) as watcher:
        try:
            print_json(temp, project, watcher)
        finally:
            watcher.kill()


def print_json(temp, project, watcher):
    quick = ["--set", "budget=steps", "--set", "steps=3", "--set", "passes=2"]
    cpu = ["--device", "cpu", "--json"]
    first = json.loads(watcher.stdout.readline())
    experiment = ["--images", temp / "images", "--masks", temp / "masks", "--out", temp / "simulated", "--test", "3",
                  "--labels", "4,6", "--policy", "random", "--no-full", "--seeds", "1", "--device", "cpu"]
    commands = {
        "check": ["--images", temp / "images", "--masks", temp / "masks", "--json"],
        "refresh": [project, "--json"],
        "round": [project, *quick, *cpu],
        "score": [project, *cpu],
        "propose": [project, *cpu],
        "predict": [project, "--images", temp / "images", "--out", temp / "predicted", *cpu],
        "export": [project, "--format", "csv", "--out", temp / "csv", "--json"],
        "export-model": [project, "--out", temp / "model", "--json"],
        "import-model": [project, temp / "model", *cpu],
        "status": [project, "--json"],
        "repair": [project, "--json"],
        "devices": ["--json"],
        "bench": ["--device", "cpu", "--base", "4", "--size", "32x32", "--pool", "2", "--steps", "1", "--json"],
        "simulate": [*experiment, *quick],
    }
    assert sorted([*commands, "watch"]) == sorted(qualm("schema").split())
    for name, arguments in commands.items():
        schema = json.loads(qualm("schema", name))
        jsonschema.Draft202012Validator.check_schema(schema)
        # A schema that anything fits would hold nothing.
        assert not jsonschema.Draft202012Validator(schema).is_valid({"another": "object"}), name
        lines = [line for line in qualm(name, *arguments).splitlines() if line.startswith("{")]
        assert lines, name
        for line in lines:
            jsonschema.validate(json.loads(line), schema)
    schema = json.loads(qualm("schema", "watch"))
    seen = [first]
    while not any(event["event"] == "round_ended" and event["round"] == 2 for event in seen):
        seen.append(json.loads(watcher.stdout.readline()))
    for event in seen:
        jsonschema.validate(event, schema)
    assert [event["round"] for event in seen if event["event"] == "round_ended"] == [1, 2]


def check_report(temp):
    """A page by itself that names no image unless asked."""
    project, labels = make_images(temp, 12, 64, 64, labelled=8)
    qualm("round", project, "--set", "budget=steps", "--set", "steps=3", "--set", "passes=2", "--device", "cpu")
    for names in (False, True):
        page = temp / f"{names}.html"
        qualm("report", project, "--out", page, "--device", "cpu", *(["--names"] if names else []))
        html = page.read_text()
        assert "is there already" in qualm("report", project, "--out", page, fails=True)
        # Nothing is loaded from elsewhere.
        assert "http" not in html.replace("http://www.w3.org/2000/svg", "") and html.count("<svg") >= 3
        assert html.count("data:image/png;base64,") >= 4
        assert any(f"{name}.png" in html for name in labels) == names
        assert names or str(temp) not in html
        for word in ("EfficientNet", "seed", "Dice", "learning_rate", "Monte-Carlo dropout"):
            assert word in html, word


def main():
    with tempfile.TemporaryDirectory() as temp:
        temp = Path(temp)
        project, labels = make_images(temp / "plain", 5, 70, 90)
        for check in (check_png, check_coco, check_geojson, check_tiff):
            print(check.__name__, flush=True)
            check(temp / "plain", project, labels)
        for check in (check_faults, check_volume, check_dicom, check_turned, check_model, check_json, check_report):
            print(check.__name__, flush=True)
            check(temp / check.__name__)


if __name__ == "__main__":
    main()
