"""The 18 MedMNIST sets as data: labels in index order, official counts, MD5 sums by size, licences and traps.

From the medmnist package 3.0.2 (Zenodo record 10519652), against which the tests compare every value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medzoo.data.labels import LabelSpace


@dataclass(frozen=True)
class MedMnistSet:
    """One set.

    Attributes:
        title: The authors' name of it.
        modality: Key of `medzoo.data.samples.policies.POLICIES`.
        labels: Names in the index order of the files.
        counts: Images in train, val and test.
        md5: Pixels a side → MD5 of the file of that size.
        channels: 1 (gray) or 3 (RGB).
        volume: Whether images are D×H×W.
        licence: Licence of the data.
        notes: Traps worth a line in a report.
    """

    title: str
    modality: str
    labels: LabelSpace
    counts: tuple[int, int, int]
    md5: Mapping[int, str]
    channels: int = 1
    volume: bool = False
    licence: str = "CC BY 4.0"
    notes: tuple[str, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Pixels a side the set comes in, ascending."""
        return tuple(self.md5)


def _md5(*sums: str) -> dict[int, str]:
    return dict(zip((28, 64, 128, 224), sums, strict=False))


def _classes(*names: str) -> LabelSpace:
    return LabelSpace("multiclass", names)


_ORGANS = _classes(
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left", "lung-right",
    "pancreas", "spleen",
)  # fmt: skip
# Not the order of the 2D organ sets.
_ORGANS_3D = _classes(
    "liver", "kidney-right", "kidney-left", "femur-right", "femur-left", "bladder", "heart", "lung-right", "lung-left",
    "spleen", "pancreas",
)  # fmt: skip
_BY_SCAN = "the authors split by CT scan; one scan gives several images, whose scan is not told"

SETS: dict[str, MedMnistSet] = {
    "pathmnist": MedMnistSet(
        "PathMNIST", "histology",
        _classes(
            "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
            "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
        ),
        (89996, 10004, 7180),
        _md5("a8b06965200029087d5bd730944a56c1", "55aa9c1e0525abe5a6b9d8343a507616",
             "ac42d08fb904d92c244187169d1fd1d9", "2c51a510bcdc9cf8ddb2af93af1eadec"),
        channels=3,
        notes=("the test split is from another clinical centre than train and val",),
    ),
    "chestmnist": MedMnistSet(
        "ChestMNIST", "xray",
        LabelSpace("multilabel", (
            "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
            "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia",
        )),
        (78468, 11219, 22433),
        _md5("02c8a6516a18b556561a56cbdd36c4a8", "9de6cd0b934ebb5b7426cfba5efbae16",
             "db107e5590b27930b62dbaf558aebee3", "45bd33e6f06c3e8cdb481c74a89152aa"),
        notes=("labels were mined from reports (NIH ChestX-ray14); 'pleural' is its pleural thickening",),
    ),
    "dermamnist": MedMnistSet(
        "DermaMNIST", "skin",
        _classes(
            "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
            "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions",
        ),
        (7007, 1003, 2005),
        _md5("0744692d530f8e62ec473284d019b0c7", "b70a2f5635c6199aeaa28c31d7202e1f",
             "2defd784463fa5243564e855ed717de1", "8974907d8e169bef5f5b96bc506ae45d"),
        channels=3,
        licence="CC BY-NC 4.0",
        notes=("not for commercial use", "several images of one HAM10000 lesion may stand in different splits"),
    ),
    "octmnist": MedMnistSet(
        "OCTMNIST", "oct",
        _classes("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
        (97477, 10832, 1000),
        _md5("c68d92d5b585d8d81f7112f81e2d0842", "e229e9440236b774d9f0dfef9d07bdaf",
             "0a97e76651ace45c5d943ee3f65b63ae", "abc493b6d529d5de7569faaef2773ba3"),
    ),
    "pneumoniamnist": MedMnistSet(
        "PneumoniaMNIST", "xray",
        _classes("normal", "pneumonia"),
        (4708, 524, 624),
        _md5("28209eda62fecd6e6a2d98b1501bb15f", "8f4eceb4ccffa70c672198ea285246c6",
             "05b46931834c231683c68f40c47b2971", "d6a3c71de1b945ea11211b03746c1fe1"),
        notes=("the films are of children",),
    ),
    "retinamnist": MedMnistSet(
        "RetinaMNIST", "fundus",
        LabelSpace("ordinal", ("0", "1", "2", "3", "4")),
        (1080, 120, 400),
        _md5("bd4c0672f1bba3e3a89f0e4e876791e4", "afda852cc34dcda56f86ad2b2457dbcc",
             "e48e916a24454daf90583d4e6efb1a18", "eae7e3b6f3fcbda4ae613ebdcbe35348"),
        channels=3,
        notes=("grades of diabetic retinopathy; official metrics treat them as unordered classes",),
    ),
    "breastmnist": MedMnistSet(
        "BreastMNIST", "ultrasound",
        _classes("malignant", "normal, benign"),
        (546, 78, 156),
        _md5("750601b1f35ba3300ea97c75c52ff8f6", "742edef2a1fd1524b2efff4bd7ba9364",
             "363e4b3f8d712e9b5de15470a2aaadf1", "b56378a6eefa9fed602bb16d192d4c8b"),
        notes=("class 1, the positive one, is 'normal, benign'; class 0 is malignant",),
    ),
    "bloodmnist": MedMnistSet(
        "BloodMNIST", "microscopy",
        _classes(
            "basophil", "eosinophil", "erythroblast",
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
            "lymphocyte", "monocyte", "neutrophil", "platelet",
        ),
        (11959, 1712, 3421),
        _md5("7053d0359d879ad8a5505303e11de1dc", "2b94928a2ae4916078ca51e05b6b800b",
             "adace1e0ed228fccda1f39692059dd4c", "b718ff6835fcbdb22ba9eacccd7b2601"),
        channels=3,
    ),
    "tissuemnist": MedMnistSet(
        "TissueMNIST", "microscopy",
        _classes(
            "Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells",
            "Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
        (165466, 23640, 47280),
        _md5("ebe78ee8b05294063de985d821c1c34b", "123ece2eba09d0aa5d698fda57103344",
             "61b955355d7425a89687b06cca3ce0c2", "b077128c4a949f0a4eb01517f9037b9c"),
        notes=("all cells are from 3 specimens", "the source has 32 px: the sizes above 28 are enlarged"),
    ),
    "organamnist": MedMnistSet(
        "OrganAMNIST", "ct", _ORGANS, (34561, 6491, 17778),
        _md5("68e3f8846a6bd62f0c9bf841c0d9eacc", "2dcccc29b88e6da5a01161ef20cda288",
             "eeae80d0a227a8d099027e1b3cfd3b60", "50747347e05c87dd3aaf92c49f9f3170"),
        notes=(_BY_SCAN,),
    ),
    "organcmnist": MedMnistSet(
        "OrganCMNIST", "ct", _ORGANS, (12975, 2392, 8216),
        _md5("b9ceb9546e10131b32923c5bbeaea2b1", "3ce34a8724ea6f548e6db4744d03b6a9",
             "773c1f009daa3fe5d9a2a201b2a7ed94", "050f5e875dc056f6768abf94ec9995d1"),
        notes=(_BY_SCAN,),
    ),
    "organsmnist": MedMnistSet(
        "OrganSMNIST", "ct", _ORGANS, (13932, 2452, 8827),
        _md5("9ab87b696fb54e2a387ebe992d6ed5f1", "53a6d115339d874c25e309a994ff46d3",
             "ded0c5fa01a95dc4978b956f613e9b8e", "b354719e553fbbb2513d5533f52a4cb1"),
        notes=(_BY_SCAN,),
    ),
    "organmnist3d": MedMnistSet(
        "OrganMNIST3D", "volume", _ORGANS_3D, (971, 161, 610),
        _md5("a0c5a1ff56af4f155c46d46fbb45a2fe", "58a2205adf14a9d0a189cb06dc78bf10"),
        volume=True,
        notes=(_BY_SCAN, "its class order is not that of the 2D organ sets"),
    ),
    "nodulemnist3d": MedMnistSet(
        "NoduleMNIST3D", "volume", _classes("benign", "malignant"), (1158, 165, 310),
        _md5("8755a7e9e05a4d9ce80a24c3e7a256f3", "c47c5b7d457bf6332200d2ea6d64ecd8"),
        volume=True,
        notes=("malignancy 3 of 5 is left out of the source", "the 64 px volumes are enlarged from smaller ones"),
    ),
    "adrenalmnist3d": MedMnistSet(
        "AdrenalMNIST3D", "volume", _classes("normal", "hyperplasia"), (1188, 98, 298),
        _md5("bbd3c5a5576322bc4cdfea780653b1ce", "17721accfe9fb005146a47d33bc54b2f"),
        volume=True,
        notes=("shape masks, not CT values", "the authors split by patient; whose glands they are is not told"),
    ),
    "fracturemnist3d": MedMnistSet(
        "FractureMNIST3D", "volume",
        _classes("buckle rib fracture", "nondisplaced rib fracture", "displaced rib fracture"), (1027, 103, 240),
        _md5("6aa7b0143a6b42da40027a9dda61302f", "f01d7e6316aedf4210da0da5b7437b42"),
        volume=True,
        notes=("one CT scan gives several fractures, whose scan is not told",),
    ),
    "vesselmnist3d": MedMnistSet(
        "VesselMNIST3D", "volume", _classes("vessel", "aneurysm"), (1335, 191, 382),
        _md5("b41fd4f7e7e2feedddb201585ecafa1b", "6bb274a8846e1097066dcd64e2c4520f"),
        volume=True,
        notes=("voxelised surfaces of 103 vessel models, several segments each, whose model is not told",),
    ),
    "synapsemnist3d": MedMnistSet(
        "SynapseMNIST3D", "volume", _classes("inhibitory synapse", "excitatory synapse"), (1230, 177, 352),
        _md5("1235b78a3cd6280881dd7850a78eadb6", "43bd14ebf3af9d3dd072446fedc14d5e"),
        volume=True,
        notes=("all synapses are of one neuron of one rat",),
    ),
}  # fmt: skip

# 28 px files whose content changed since: blank images were taken out of five sets, test images out of NoduleMNIST3D.
_BEFORE_2_2_4 = "of a MedMNIST release before 2.2.4 (Zenodo 6496656 or older, with blank images that were later taken out)"
OLD_RELEASES: dict[str, str] = {
    "866b832ed4eeba67bfb9edee1d5544e6": _BEFORE_2_2_4,  # organamnist
    "0afa5834fb105f7705a7d93372119a21": _BEFORE_2_2_4,  # organcmnist
    "e5c39f1af030238290b9557d9503af9d": _BEFORE_2_2_4,  # organsmnist
    "21f0a239e7f502e6eca33c3fc453c0b6": _BEFORE_2_2_4,  # organmnist3d
    "2ba5b80617d705141f3f85627108fce8": _BEFORE_2_2_4,  # vesselmnist3d
    "902d495e3d91ad1a7bcac1a6b58a8fa2": "of MedMNIST 2.0 (Zenodo 5208230, with 526 test images)",  # nodulemnist3d
}
