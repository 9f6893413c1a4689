"""Your own images: a CSV, Excel, Parquet or JSONL table with one row a sample, its columns mapped by name.

Images lie below one folder (PNG, JPEG, TIFF, BMP, DICOM; NIfTI for volumes). What a column means is said in the
configuration, nothing is guessed from its name; see docs/datasets.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from medzoo.data.dataset import Dataset
from medzoo.data.datasets.table.absent import Named, refuse_absent
from medzoo.data.datasets.table.bags import BAG, bag_names, bag_rows, check_bags, member_views, rows_reader
from medzoo.data.datasets.table.beside import columns_beside
from medzoo.data.datasets.table.boxes import read_boxes
from medzoo.data.datasets.table.card import table_info
from medzoo.data.datasets.table.channels import MissingChannels, channels_option, check_channels, planes_or_frames, whole_stacks
from medzoo.data.datasets.table.frames import check_frames, check_volumes, file_parts, frame_numbers, frame_rows
from medzoo.data.datasets.table.groups import Ungrouped, group_names, sample_names, split_words
from medzoo.data.datasets.table.joined import join_option, join_tables, take_where, where_option
from medzoo.data.datasets.table.modalities import modalities_option, texts_option
from medzoo.data.datasets.table.paths import image_paths, places_of
from medzoo.data.datasets.table.readers import Readers, settle
from medzoo.data.datasets.table.reading import read_table
from medzoo.data.datasets.table.several import read_targets, targets_option
from medzoo.data.datasets.table.visits import visit_columns, visits_option
from medzoo.data.errors import ConfigError
from medzoo.data.images.bags import VIEW, BagReader
from medzoo.data.images.files import FRAME, SAY_FRAMES, SERIES, FileReader, Missing, range_notes, with_files
from medzoo.data.images.frames import MEMBERS, Frames
from medzoo.data.images.kinds import VOLUME_SUFFIXES
from medzoo.data.images.reader import Reader
from medzoo.data.images.rows import SUFFIXES as ROWS
from medzoo.data.info import DatasetInfo
from medzoo.data.labels import ConceptSpace
from medzoo.data.options import choices, frames_option, local_path, low_high, one_text, require_numbers, text_list, text_mapping
from medzoo.data.samples.policies import POLICIES
from medzoo.data.splits.groups import hash_split
from medzoo.data.splits.populations import population_keys
from medzoo.data.splits.stratified import check_rule, split_by_group
from medzoo.data.tables.cells import column_meanings, replace_by_column, replace_values, require_columns, with_points
from medzoo.data.tables.columns import captions, categories_option, input_space, refuse_own_names
from medzoo.data.tables.targets import LIST, Kind
from medzoo.data.tables.words import clean, with_point


def infos() -> list[DatasetInfo]:
    """Return the card of a table; the data's own is made when one is loaded."""
    return [table_info("a table of your own", "none", None, "image", (), "uint8")]


def load(
    file: str | Path | None = None,
    root: str | Path | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    decimal: str = ".",
    join: list[dict[str, Any]] | None = None,
    where: Mapping[str, Sequence[str | float]] | None = None,
    image: str | list[str] = "image",
    channel_columns: list[str] | None = None,
    missing_channels: MissingChannels = "error",
    features: str | None = None,
    bag: str | None = None,
    max_members: int | None = None,
    view: str | None = None,
    path: str | None = None,
    id: str | None = None,  # noqa: A002  # the column's usual name
    target: str | list[str] | None = None,
    targets: Mapping[str, Any] | None = None,
    kind: Kind = "auto",
    names: Sequence[str | float] | None = None,
    units: list[str] | None = None,
    separator: str | None = None,
    left_out: Sequence[str] | None = None,
    readers: Readers | None = None,
    empty_words: Sequence[str | float] | None = None,
    values: Mapping[str | float, str | float | None] | None = None,
    map_values: Mapping[str, Mapping[str | float, str | float | None]] | None = None,
    weight: str | None = None,
    concepts: list[str] | None = None,
    graded: bool = False,
    caption: str | None = None,
    group: str | None = None,
    group_pattern: str | None = None,
    ungrouped: Ungrouped = "error",
    split: str | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    split_rule: int = 2,
    subgroups: list[str] | None = None,
    keep: list[str] | None = None,
    time: str | None = None,
    time_as: str | None = None,
    visits_of: str | list[str] | None = None,
    inputs: list[str] | None = None,
    categories: Any = None,
    modalities: Mapping[str, Any] | None = None,
    texts: Any = None,
    modality: str = "none",
    channels: int = 3,
    window: list[float] | None = None,
    deep: bool = False,
    frames: Frames | None = None,
    frame_number: str | None = None,
    series_uid: str | None = None,
    boxes: str | Path | None = None,
    licence: str = "your own",
    missing: Missing = "error",
) -> Dataset:
    r"""Load a table of the user's own.

    Args:
        file: `.csv`, `.tsv`, `.txt` (each may be packed: `.gz`, `.bz2`, `.xz`, `.zip`), `.xlsx`, `.parquet` or `.jsonl`.
        root: Folder the image paths are relative to; None: the folder of the file.
        sheet: Sheet of a workbook; None: the only one that holds anything.
        encoding: Of text, such as cp1252; None: UTF-8, or UTF-16 by its mark.
        decimal: What stands before the fraction of a number, `.` or `,`; beside `,` a number with a point is refused.
        join: Further tables whose columns are put beside this one's, `[{file: labels.csv, by: [patient, study]}]`: their
            columns `by` say which row belongs to which, and a row that has none there is empty there. An entry has an `encoding`
            and a `sheet` of its own; without, text that is UTF-8 is read so, and other text in this table's encoding.
        where: Column → words; the rows that hold one of them are taken.
        image: Column with the image's path, of another machine too; several columns are views of one case, any of them empty.
        channel_columns: Columns with the images that are the channels of one, in that order ([t1, t1ce, t2, flair]), each file
            read as gray; in place of `image`.
        missing_channels: error: every sample has a file for each; zeros: a channel that is missing is filled with zeros.
        features: Column with the path of a file of feature rows (.npy, .safetensors, .parquet), each a member, instead of images.
        bag: Column with the name of a row's bag: the rows of one are one sample of as many members.
        max_members: Most members of a bag in a step of training, drawn anew each time; evaluation takes all. None: all.
        view: Column with what each image of a bag shows (PA, lateral): its vector is added to the image's before they are pooled.
        path: How a cell becomes a path: `images/{}.jpg`, with {} for the cell and {column} for another one. None: as it is.
        id: Column with a unique, stable name of the sample; None: the (first) image's path.
        target: Column with the class name, an integer, a quantity, or several names with a `separator`; or several columns,
            each 0, 1 or empty (multilabel; with `kind=multiclass` exactly one of them is 1), or quantities (`kind=regression`).
            A whole number may be written 1 or 1.0.
        kind: auto, multiclass, ordinal, multilabel or regression; auto: multilabel for several columns or a separator, else
            multiclass.
        names: Class names in index order: for ordinal labels from low to high; numbers are taken as text. None: as they sort.
        units: A unit for each quantity.
        separator: Between several findings in one cell, or `[]` of a list, ['a', 'b']; needs `names`; an empty cell is missing.
        left_out: Findings in one cell that are no labels, such as [No Finding]; `*`: all that `names` does not list.
        readers: Of several rows of one image: majority, unanimous or any labels; None: a sample each, named by `id`.
        empty_words: Words and numbers that mean missing, such as [unknown, n/a, -1], in any column but paths and names.
        values: Word → what it means, such as {A: pathologic, P: normal, X: 1}, in target and concept columns; null: missing.
            With a `separator`, finding → the findings it means; null: what else the cell does not name is missing.
        map_values: The same for single columns of targets and concepts, before `values`: {edema: {-1: 1}, effusion: {-1: null}}.
        weight: Column with how much each sample counts in training, a positive number.
        concepts: Columns of 0, 1 or empty.
        graded: Concepts are numbers from 0 to 1, how much or how surely each is there.
        caption: Column with text.
        group: Column that no split may cut (the patient); None: every image is its own group, and results say so.
        group_pattern: Regular expression whose first group finds the patient in the cell of `group`, or without one in the
            image file's name (in its path, if the pattern has a slash), such as `^(\d+)_`.
        ungrouped: alone: a sample whose cell of `group` is empty is a group of its own; error: there must be none.
        split: Column with train, val or test (training, valid, validation, dev, testing are understood). None: by group.
        test_fraction: Share of the groups held out for testing where there is no split column.
        seed: Seed of that split.
        split_rule: 2: by group and seed, of fewer than 500 groups by class too. 1: as medzoo read and split tables at first.
        subgroups: Columns results are broken down by.
        keep: Columns that predictions carry, so that rows of one video, eye or visit can answer together (`evaluation.by`).
        time: Column with when the sample was: dates of one form, or numbers, so that `data.horizon` can ask of a later visit.
        time_as: What numbers count (days, weeks, months, years, visits), or how dates are written, `%d.%m.%Y`. None: YYYY-MM-DD.
        visits_of: Column or columns that name what was seen again, such as [patient, eye]. None: the group.
        inputs: Columns with values beside the image: numbers, or the words of `categories`.
        categories: Those of the inputs that are words: a list, or each with all its words in order, `{sex: [female, male]}`.
        modalities: Several images a sample, any of which may be missing: name → the column with its path, or `{column: oct_path,
            channels: 1, window: [low, high], frames: volume}`; in place of `image`.
        texts: Columns of free text beside the images (report, history): a list, or name → column.
        modality: What the images are, for the default augmentation: a policy such as xray, skin, fundus, oct, ct, or none.
        channels: 1 (gray) or 3 (RGB); any other number, to 32: the planes that each file holds (TIFF, .npy, NIfTI).
        window: [low, high], the values that become black and white in images of more than 8 bits (Hounsfield units for CT).
        deep: Keep more than 8 bits: images are then float32 in 0..1.
        frames: Of files of several frames: members, each a sample with its row's labels; volume, all one; channels, those of an
            image; None: refused.
        frame_number: Column with the number of the frame, from 0, where a row is one frame of a file; instead of `frames`.
        series_uid: Column with the SeriesInstanceUID of a row's series, where its directory of DICOM slices holds several.
        boxes: A second table, one row a region, which maps are held against; see `medzoo.data.datasets.table.boxes`.
        licence: The data's licence, kept in the model's spec.
        missing: error, skip or ignore image files that are not there.
        targets: Several targets a sample, in place of `target`, any missing: name → its column or columns, or what else is said
            of it, `{target: grade, kind: ordinal, names: [low, high]}`; see `medzoo.data.datasets.table.several`.

    Raises:
        ConfigError: If the mapping is incomplete or contradicts itself, or one text is given for a list.
        DatasetError: If the file, a column or a row is not what it must be; names the line.
    """
    if file is None:
        raise ConfigError("data=table needs data.file=<your table>.csv (or .xlsx, .parquet, .jsonl) and data.target=<column>")
    choices(modality=(modality, POLICIES), missing=(missing, Missing), ungrouped=(ungrouped, Ungrouped))
    choices(**({} if readers is None else {"readers": (readers, Readers)}))
    require_numbers({"seed": seed}, {"test_fraction": test_fraction})
    rule = check_rule(split_rule)
    empty_words, mark = text_list(empty_words, "empty_words"), "." if rule == 1 else decimal
    joins, taken_words = join_option(join), where_option(where, mark)
    concepts, subgroups, inputs = text_list(concepts, "concepts"), text_list(subgroups, "subgroups"), text_list(inputs, "inputs")
    id, caption, weight = one_text(id, "id"), one_text(caption, "caption"), one_text(weight, "weight")  # noqa: A001
    keep, group, split = text_list(keep, "keep") or [], one_text(group, "group"), one_text(split, "split")
    features, bag, view = one_text(features, "features"), one_text(bag, "bag"), one_text(view, "view")
    when = visits_option(time, time_as, visits_of, group, group_pattern)
    path, group_pattern, sheet = one_text(path, "path"), one_text(group_pattern, "group_pattern"), one_text(sheet, "sheet")
    meanings, empty = text_mapping(values, "values"), [with_point(clean(word), mark) for word in empty_words or []]
    meanings, own_meanings = with_points(meanings, mark), column_meanings(map_values, mark)
    source = local_path(file, "file")
    folder = source.parent if root is None else local_path(root, "root")
    if features is not None and image != "image":
        raise ConfigError(f"data.features={features} are read instead of images: leave data.image={image} out")
    others = {"image": image != "image", "features": features, "bag": bag, "modalities": modalities, "frame_number": frame_number}
    stack = channels_option(channel_columns, missing_channels, channels, others)
    kinds = modalities_option(modalities, image, channels, window)
    reports = texts_option(texts, [one.name for one in kinds])
    if (kinds or reports) and (bag is not None or features is not None):
        raise ConfigError("data.modalities and data.texts are one sample a row: leave data.bag and data.features out")
    columns = [one.column for one in kinds] or list(stack.columns if stack is not None else ())
    columns = columns or ([features or image] if isinstance(image, str) else text_list(image, "image") or [])
    if not columns:
        raise ConfigError("data.image names no column; give the one with the image's path, or a list for views of one case")
    frames, frame, uid = frames_option(frames, rule), one_text(frame_number, "frame_number"), one_text(series_uid, "series_uid")
    channels, frames = planes_or_frames(stack, channels, frames) if not kinds else (channels, frames)
    check_frames(frames, frame, len(columns), rule, uid)
    if kinds and (frames is not None or frame is not None or rule == 1):
        raise ConfigError("data.modalities: say frames of each (oct: {column: oct_path, frames: volume}), with data.split_rule=2")
    alone: dict[str, object] = {"boxes": boxes, "id": bag and id}
    if features is not None:
        alone |= {"window": window, "deep": deep, "frames": frames, "frame_number": frame_number, "readers": readers}
        alone["modality"] = modality if modality != "none" else None
    max_members = check_bags(bag, features, max_members, view, alone, len(columns))
    if rule != 1:  # as the table's header is read
        id, group, split, caption, frame, uid, bag, weight, view = (  # noqa: A001
            None if one is None else clean(one) for one in (id, group, split, caption, frame, uid, bag, weight, view)
        )
        concepts, subgroups, inputs = (None if some is None else list(map(clean, some)) for some in (concepts, subgroups, inputs))
        columns, keep, when = list(map(clean, columns)), list(map(clean, keep)), list(map(clean, when))
    of_target = {"kind": kind, "names": names, "units": units, "separator": separator, "left_out": left_out}
    asked = targets_option(targets, {"target": target, **of_target}, values=bool(meanings), rule=rule)
    if targets is not None and {readers, boxes, bag, features} != {None}:
        raise ConfigError("data.targets are several targets: data.readers, boxes, bag and features are of one; leave them out")
    words = categories_option(categories, inputs or [])
    rows, merged = read_table(source, sheet=sheet, encoding=encoding, decimal=decimal, rule=rule)
    rows, of_others, of_rows = join_tables(rows, joins, source.parent, encoding=encoding, decimal=decimal, rule=rule)
    merged = {**merged, **of_others}
    said = [column for one in asked.values() for column in one.columns]
    alike = [*(concepts or []), *(subgroups or []), *(inputs or []), *when, *reports.values()]
    used = (*columns, id, group, split, caption, frame, uid, bag, weight, view, *said, *alike, *keep)
    # A column that is not there is named before a file is looked for.
    require_columns(rows, used, [column for one in asked.values() if one.separator == LIST for column in one.columns])
    notes = [found.note(repr(column)) for column, found in merged.items() if column in (group, split, *said, *(subgroups or []))]
    whole, (rows, taken_note) = rows, take_where(rows, taken_words)
    notes += [*of_rows, *taken_note]
    plain = [column for one in asked.values() if one.separator is None for column in one.columns]
    changed = dict.fromkeys([*plain, *(concepts or [])])
    if own_meanings:
        rows, unused = replace_by_column(rows, changed, own_meanings)
        notes += unused
    if meanings and changed:
        rows, unused = replace_values(rows, changed, meanings)
        notes += unused
    views = len(columns) > 1 and not kinds and stack is None
    paths = [one.path for one in kinds] or ([f"path_{i + 1}" for i in range(len(columns))] if len(columns) > 1 else ["path"])
    check_channels(stack, rows, columns)
    places = places_of(folder, source.parent, missing, () if features is None else ROWS)
    present = places.files or []
    found, more = image_paths(rows, columns, places, path)
    notes += more
    spaces, labelled, told = read_targets(rows, asked, empty, rule, meanings)
    space = next(iter(spaces.values()), None)
    notes += told
    if readers is not None:
        same = [*filter(None, (group, split, caption, weight, bag, view)), *alike, *keep]
        rows, found, labelled, settled = settle(rows, found, labelled, space, readers, same, file_parts(rows, frame, uid))
        notes += settled
    table = found.set_axis(paths, axis=1)
    numbers = None if frame is None else frame_numbers(rows, frame)
    members = None if bag is None else bag_names(rows, bag)
    table.insert(0, "sample_id", sample_names(rows, table[paths], columns, id, rule, numbers, members, uid))
    samples = table["sample_id"] if members is None else members
    table["group"], more = group_names(rows, samples, table[paths], group, group_pattern, ungrouped, rule, places)
    notes += more
    if members is not None:
        table[BAG] = members
    if uid is not None:
        table[SERIES] = rows[uid].where(rows[uid] != "", None)
    if view is not None:
        table[VIEW] = member_views(rows, view, empty)
    own = {"sample_id", "split", "group", "target", "caption", "sample_weight", *paths, *labelled.columns}
    own |= {*([] if bag is None else [BAG]), *([] if frames is None and frame is None else [FRAME]), SERIES}
    refuse_own_names(own, [*(subgroups or []), *keep], source.name)
    extra, coded, told = columns_beside(
        rows, concepts or [], inputs or [], subgroups or [], keep, words=words, weight=weight, graded=graded, empty=empty,
        rule=rule,
    )  # fmt: skip
    notes += told
    visits, of_visits = visit_columns(rows, when, time_as)
    prose = {f"text.{name}": column for name, column in reports.items()} | ({"caption": caption} if caption else {})
    extra |= of_visits | {name: captions(rows, column, empty, rule) for name, column in prose.items()}
    table = pd.concat([table, labelled, pd.DataFrame(extra, index=table.index)], axis=1)
    if split is not None:
        table["split"] = split_words(rows, split)
    if numbers is not None:
        table[FRAME] = numbers
    elif frames == MEMBERS:
        table, more = frame_rows(table, folder, present, missing)
        notes += more
    if split is None and rule == 1:
        table["split"] = hash_split(table["group"], salt=f"table/{source.stem}/{seed}", fractions=(0.0, test_fraction))
    elif split is None:
        table["split"] = split_by_group(table, space, test_fraction, seed)
    volume = not kinds and bool(table[paths[0]].dropna().astype(str).str.lower().str.endswith(VOLUME_SUFFIXES).any())
    refuse_absent(table, Named(rows, columns, places, path), paths, missing, source.stem)
    table, lacking = with_files(table, present, paths, missing, source.stem)
    table, more = whole_stacks(stack, table, paths)
    lacking += more
    value_type: Literal["uint8", "float32"] = "float32" if deep else "uint8"
    check_volumes(volume, channels if stack is None else 1, frames, frame)
    frames = "members" if frame is not None else frames
    taken = (*paths, *([FRAME] if frames == MEMBERS else []), *([SERIES] if uid is not None else []))
    by_name = {one.name: one.reader(folder, table[one.path], value_type) for one in kinds}
    shown = low_high(window, "window")
    one: Reader = FileReader(folder, taken, channels, value_type, shown, views, frames, SAY_FRAMES, uid is not None)
    one = one if stack is None else stack.reader(folder, paths, value_type, shown, frames)
    for each in () if features is not None else by_name.values() or [one]:
        lacking += range_notes(each, table[each.columns[0]].dropna())
    reader: Reader = next(iter(by_name.values()), one)
    if features is not None:
        reader, value_type = rows_reader(table, folder), "float32"
    nobody = "bag" if bag is not None or features is not None else "file" if frames == MEMBERS else "image"
    unit = group if group is not None else "patient" if group_pattern is not None and rule != 1 else nobody
    known = population_keys(folder, source.read_bytes(), table[paths])
    if bag is not None:
        table, more = bag_rows(table, [*taken, *([VIEW] if view is not None else [])], bag)
        notes += more
    if bag is not None or features is not None:
        reader = BagReader(reader, max_members, bag=bag is not None)
    named = [*(space.names if space is not None else ()), *(concepts or ())]
    return Dataset(
        table_info(source.stem, modality, space, unit, (*notes, *lacking), value_type, licence, known),
        table.reset_index(drop=True), reader, space,
        concepts=ConceptSpace(tuple(concepts)) if concepts else None,
        subgroups=tuple(subgroups or ()),
        kept=(*keep, *(("path",) if frames == MEMBERS and bag is None and "path" not in keep else ())),
        regions=read_boxes(boxes, table, paths, named, Named(whole, columns, places, path), id),
        modalities=by_name,
        targets=spaces if len(spaces) > 1 else {},
        texts=tuple(reports),
        inputs=input_space(inputs or [], coded),
        visits=visits,
    )  # fmt: skip
