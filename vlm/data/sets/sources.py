"""The table of public data sets: where each file is, how large, its checksum, what it must hold.

A size or checksum is here only where somebody published it: those of COCO and of Karpathy's
splits in TensorFlow Datasets (url_checksums/coco_captions.txt), checksums of VQA v2 in ParlAI
(tasks/vqa_v2/build.py), those of Flickr8k in the R package torchdatasets. For the rest there is
none: the archive's own checks and the numbers of photos and captions have to do.
"""

from vlm.data.sets.entries import CaptionFiles, DataSet, QuestionFiles, Source

COCO = "http://images.cocodataset.org"
# The same bucket by a name that its certificate is valid for.
COCO_MIRROR = "https://s3.amazonaws.com/images.cocodataset.org"
VQA = "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa"
VQA_MIRROR = "https://visualqa.org/data/mscoco/vqa"
FLICKR8K = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
OPEN_IMAGES = "https://open-images-dataset.s3.amazonaws.com"
NOCAPS = "https://nocaps.s3.amazonaws.com"
NOCAPS_MIRROR = "https://s3.amazonaws.com/nocaps"


def _fit(config: str, backbone: str) -> str:
    """The commands that train on what was prepared, from a store of features."""
    splits = '{{"train": "train.json", "val": "val.json", "test": "test.json"}}'
    return (
        f"vlm extract --images {{output}}/images --backbone {backbone} --output {{output}}/features"
        f" && vlm fit --config {config} --model.backbone.name {backbone} --data.root {{output}} "
        f"--data.images images --data.annotations '{splits}' "
        "--data.store.init_args.path {output}/features --output runs/{name}"
    )


def _coco_photos(folder: str, size: int, photos: int, checksum: str) -> Source:
    name = f"{folder}.zip"
    urls = (f"{COCO}/zips/{name}", f"{COCO_MIRROR}/zips/{name}")
    return Source(name, urls, size, f"sha256:{checksum}", {folder: photos}, "images")


def _vqa(name: str, checksum: str, *files: str) -> Source:
    urls = (f"{VQA}/{name}", f"{VQA_MIRROR}/{name}")
    return Source(name, urls, None, f"sha256:{checksum}", dict.fromkeys(files, 0))


def _karpathy(file: str) -> Source:
    place = "cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
    checksum = "sha256:4cfd70132527b80933105e5829dc9034eaab9573482e2e680abbab6130244817"
    urls = (f"https://{place}", f"http://{place}")
    return Source("caption_datasets.zip", urls, 36_745_453, checksum, {file: 0})


def _nocaps(name: str) -> Source:
    urls = (f"{NOCAPS}/{name}", f"{NOCAPS_MIRROR}/{name}")
    return Source(name, urls, None, None, {name: 0})


def _open_images(folder: str, split: str, listed: str, photos: int) -> Source:
    """The photos of a nocaps file, which are of a split of Open Images."""
    urls = (f"{OPEN_IMAGES}/{split}", f"{NOCAPS_MIRROR}/{folder}")
    holds = {folder: photos}
    return Source(folder, urls, None, None, holds, "images", f"annotations/{listed}")


TRAIN2014 = _coco_photos(
    "train2014",
    13_510_573_713,
    82_783,
    "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
)
VAL2014 = _coco_photos(
    "val2014",
    6_645_013_297,
    40_504,
    "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
)
TEST2015 = _coco_photos(
    "test2015",
    13_270_587_935,
    81_434,
    "1a2aa896b81140a850a78fa8bff07d455698d2abf364ff05721763458a8101ca",
)
COCO_TEXTS = Source(
    "annotations_trainval2014.zip",
    tuple(f"{place}/annotations/annotations_trainval2014.zip" for place in (COCO, COCO_MIRROR)),
    252_872_794,
    "sha256:031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
    {
        "annotations/captions_train2014.json": 0,
        "annotations/captions_val2014.json": 0,
        "annotations/instances_train2014.json": 0,
        "annotations/instances_val2014.json": 0,
    },
    into="",
)

SETS = {
    "coco": DataSet(
        title="COCO captions, Karpathy's splits of train2014 and val2014",
        sources=(_karpathy("dataset_coco.json"), COCO_TEXTS, TRAIN2014, VAL2014),
        splits="annotations/dataset_coco.json",
        counts={"train": 113_287, "val": 5_000, "test": 5_000},
        texts=("annotations/captions_train2014.json", "annotations/captions_val2014.json"),
        next_command=_fit("configs/coco_siglip2.yaml", "vit_base_patch16_siglip_256.v2_webli"),
    ),
    "flickr8k": DataSet(
        title="Flickr8k, Karpathy's splits",
        sources=(
            _karpathy("dataset_flickr8k.json"),
            Source(
                "Flickr8k_text.zip",
                (f"{FLICKR8K}/Flickr8k_text.zip",),
                None,
                "md5:bf6c1abcb8e4a833b7f922104de18627",
                {"Flickr8k.token.txt": 0},
            ),
            Source(
                "Flickr8k_Dataset.zip",
                (f"{FLICKR8K}/Flickr8k_Dataset.zip",),
                None,
                "md5:f18a1e2920de5bd84dae7cf08ec78978",
                {"Flicker8k_Dataset": 8_091},
                "images",
            ),
        ),
        splits="annotations/dataset_flickr8k.json",
        counts={"train": 6_000, "val": 1_000, "test": 1_000},
        texts=("annotations/Flickr8k.token.txt",),
        folder="Flicker8k_Dataset",
        next_command=_fit("configs/flickr8k.yaml", "tf_efficientnet_lite0.in1k"),
    ),
    "flickr30k": DataSet(
        title="Flickr30k, Karpathy's splits",
        sources=(
            _karpathy("dataset_flickr30k.json"),
            Source(
                "flickr30k-images.tar.gz",
                (),
                None,
                None,
                {"flickr30k-images": 31_783},
                "images",
                form="https://shannon.cs.illinois.edu/DenotationGraph/",
            ),
        ),
        splits="annotations/dataset_flickr30k.json",
        counts={"train": 29_000, "val": 1_014, "test": 1_000},
        texts=("annotations/dataset_flickr30k.json",),
        folder="flickr30k-images",
        next_command=_fit("configs/flickr8k.yaml", "tf_efficientnet_lite0.in1k"),
    ),
    "vqav2": DataSet(
        title="VQA v2, questions and answers as published",
        sources=(
            _vqa(
                "v2_Questions_Train_mscoco.zip",
                "05a64b6e2582d06d7585f5429674a9a33851878be1bff9f8668cdcf792df611e",
                "v2_OpenEnded_mscoco_train2014_questions.json",
            ),
            _vqa(
                "v2_Questions_Val_mscoco.zip",
                "e71f6c5c3e97a51d050f28243e262b28cd0c48d11a6b4632d769d30d3f93222a",
                "v2_OpenEnded_mscoco_val2014_questions.json",
            ),
            _vqa(
                "v2_Questions_Test_mscoco.zip",
                "982e2e687a86514b78ea83af356d151976c5e3fb4168a29ca543610574082ad7",
                "v2_OpenEnded_mscoco_test2015_questions.json",
                "v2_OpenEnded_mscoco_test-dev2015_questions.json",
            ),
            _vqa(
                "v2_Annotations_Train_mscoco.zip",
                "fb101bcefe91422c543c2bb6d70af11eb3119d0ff745ae283d09acdf66250853",
                "v2_mscoco_train2014_annotations.json",
            ),
            _vqa(
                "v2_Annotations_Val_mscoco.zip",
                "0caae7c8d1dafd852727f5ac046bc1efca9b72026bd6ffa34fc489f3a7b3291e",
                "v2_mscoco_val2014_annotations.json",
            ),
            TRAIN2014,
            VAL2014,
            TEST2015,
        ),
        questions=(
            QuestionFiles(
                "annotations/v2_OpenEnded_mscoco_train2014_questions.json",
                "annotations/v2_mscoco_train2014_annotations.json",
                443_757,
            ),
            QuestionFiles(
                "annotations/v2_OpenEnded_mscoco_val2014_questions.json",
                "annotations/v2_mscoco_val2014_annotations.json",
                214_354,
            ),
            QuestionFiles(
                "annotations/v2_OpenEnded_mscoco_test-dev2015_questions.json", None, 107_394
            ),
            QuestionFiles("annotations/v2_OpenEnded_mscoco_test2015_questions.json", None, 447_793),
        ),
        next_command="vlm extract --images {output}/images --output {output}/features --backbone "
        "vit_base_patch16_siglip_256.v2_webli",
    ),
    "nocaps": DataSet(
        title="nocaps, validation with captions and domains, test without",
        sources=(
            _nocaps("nocaps_val_4500_captions.json"),
            _nocaps("nocaps_test_image_info.json"),
            _open_images("val", "validation", "nocaps_val_4500_captions.json", 4_500),
            _open_images("test", "test", "nocaps_test_image_info.json", 10_600),
        ),
        captions=(
            CaptionFiles("annotations/nocaps_val_4500_captions.json", "val", "val", 4_500, 45_000),
            CaptionFiles("annotations/nocaps_test_image_info.json", "test", "test", 10_600, 0),
        ),
        next_command="vlm test --ckpt_path runs/coco/checkpoints/best.ckpt --data.root {output} "
        "--data.images images --data.annotations val.json",
    ),
}
