"""Tables of text, NPY and NPZ files; what the data say against the task."""

import bz2
import gzip
import lzma
import sys
import zipfile

import numpy as np
import pytest

from mfpde import data
from mfpde.errors import DataWarning

IRIS = "width,length,species\n1.5,2,setosa\n\n-3e-1, 4,virginica\n0,5,setosa\n"
CLASSES = {"task": "classification", "target_columns": "y"}
NUMBERS = {"task": "regression", "target_columns": "y"}


def write(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


@pytest.fixture
def table(tmp_path):
    return lambda text, encoding="utf-8": write(tmp_path / "a.csv", text, encoding)


def some_samples(n_samples=40, d=5):
    x = np.random.default_rng(0).standard_normal((n_samples, d))
    return x, np.arange(n_samples) % 3


# Tables of text


def test_classes(table):
    path = table(IRIS, "utf-8-sig")
    found = data.from_csv(path, task="classification", target_columns="species")
    assert found.x.tolist() == [[1.5, 2], [-0.3, 4], [0, 5]]
    assert found.y.tolist() == [0, 1, 0]
    assert found.feature_names == ("width", "length")
    assert found.target_names == ("species",)
    assert found.class_names == ("setosa", "virginica")
    assert found.column_names == ("width", "length", "species")


def test_classes_that_are_numbers_are_sorted_as_numbers(table):
    path = table("0,10\n1,9\n2,-1\n3,10\n4,-1\n5,9\n")
    found = data.from_csv(path, task="classification", target_columns="1", header=False)
    assert found.class_names == ("-1", "9", "10")
    assert found.y.tolist() == [2, 1, 0, 2, 0, 1]


def test_values_and_columns(table):
    path = table("a;b;c;d\n1;2;3;4\n5;6;7;8\n9;1;1;1\n")
    options = {"task": "regression", "separator": ";"}
    found = data.from_csv(path, target_columns=["d", "a"], **options)
    assert found.y.tolist() == [[4, 1], [8, 5], [1, 9]]
    assert found.x.tolist() == [[2, 3], [6, 7], [1, 1]]
    assert (found.class_names, found.target_names) == ((), ("d", "a"))
    found = data.from_csv(
        path, target_columns="d", feature_columns=["c", "a"], **options
    )
    assert found.x.tolist() == [[3, 1], [7, 5], [1, 9]]
    found = data.from_csv(path, target_columns="d", drop_columns=["b"], **options)
    assert found.feature_names == ("a", "c")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a;b;y\n1,5;2;3\n-,5;1e1;2,0\n7;8;9\n", {"separator": ";", "decimal": ","}),
        ("a\tb\ty\n1.5\t2\t3\n-.5\t10\t2\n7\t8\t9\n", {"separator": "\t"}),
        ("a   b y\n 1.5 2  3\n-.5 10 2\n7 8 9\n", {"separator": "whitespace"}),
        ("# made\na,b,y\n1.5,2,3 # one\n-.5,10,2\n7,8,9\n", {"comment": "#"}),
        ("made\n\na,b,y\n1.5,2,3\n-.5,10,2\n7,8,9\n", {"skip_rows": 2}),
        ("'a','b','y'\n'1.5',2,3\n-.5,10,2\n7,8,9\n", {"quote": "'"}),
        ("a,b,y\r\n1.5,2,3\r\n-.5,10,2\r\n7,8,9\r\n", {}),
        ('a,b,y\n"1.5",2,3\n-.5,10,2\n\n7,8,9', {}),
    ],
)
def test_dialects(table, text, options):
    found = data.from_csv(table(text), **NUMBERS, **options)
    assert found.x.tolist() == [[1.5, 2], [-0.5, 10], [7, 8]]
    assert found.y.tolist() == [[3], [2], [9]]
    assert found.feature_names == ("a", "b")


def test_thousands_stand_between_groups_of_three(table):
    path = table('a;y\n"1,234.5";1\n-12,345,678;2\n12;3\n')
    options = NUMBERS | {"separator": ";", "thousands": ","}
    assert data.from_csv(path, **options).x[:, 0].tolist() == [1234.5, -12345678, 12]
    with pytest.raises(ValueError, match=r"Row 2, column 'a' .* got '1,5'"):
        data.from_csv(table("a;y\n1;1\n1,5;2\n2;3\n"), **options)


def test_encodings_and_compressions(tmp_path):
    text = "länge,y\n1,2\n3,4\n5,6\n"
    path = write(tmp_path / "a.csv", text, "latin-1")
    assert data.from_csv(path, **NUMBERS, encoding="latin-1").feature_names == (
        "länge",
    )
    with pytest.raises(
        ValueError, match=r"is no text in the encoding 'utf-8'.*Set `en"
    ):
        data.from_csv(path, **NUMBERS)
    with pytest.raises(ValueError, match="`encoding` must name an encoding"):
        data.from_csv(path, **NUMBERS, encoding="latin-99")
    content = text.encode()
    for suffix, pack in (("gz", gzip), ("bz2", bz2), ("xz", lzma)):
        path = tmp_path / f"a.csv.{suffix}"
        path.write_bytes(pack.compress(content))
        assert len(data.from_csv(path, **NUMBERS).x) == 3
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", text)
    assert len(data.from_csv(tmp_path / "a.zip", **NUMBERS).x) == 3
    path = tmp_path / "plain.txt"
    path.write_bytes(gzip.compress(content))
    assert len(data.from_csv(path, **NUMBERS, compression="gzip").x) == 3
    rows = "".join(f"{value},1\n" for value in np.random.default_rng(0).random(99))
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(rows.encode())[:600])
    with pytest.raises(ValueError, match="cannot be read as a table"):
        data.from_csv(tmp_path / "b.csv.gz", **NUMBERS)


@pytest.mark.parametrize(
    "text",
    [
        'a,y\n1,u\n2,"v\n3,u\n4,v"\n5,u\n6,v\n',
        'a,note,y\n1,n,u\n2,"n,v\n3,n,u\n4,n",v\n5,n,u\n6,n,v\n',
        'a,"y\n1,u\n2,v"\n3,u\n4,v\n',
        'a,y\n1,u\n2,"\n3,u"\n4,v\n',
        'a,y\n1,u\n2,"v\n"\n3,u\n',
    ],
)
def test_a_stray_quote_never_swallows_lines(table, text):
    options = CLASSES | {"drop_columns": ["note"] if "note" in text else None}
    with pytest.raises(ValueError, match=r"goes on over the end of its line.* `quote`"):
        data.from_csv(table(text), **options)


def test_a_quote_that_is_never_closed(table):
    with pytest.raises(
        ValueError, match=r"opens in line 3 .* is never closed.*`quote`"
    ):
        data.from_csv(table('a,y\n1,u\n2,"v\n3,u\n'), **CLASSES)
    path = table('a,y\n1,u\n2,"v\n3,u\n4,"v\n')
    found = data.from_csv(path, **CLASSES, quote="")
    assert found.class_names == ('"v', "u")


def test_cells_of_several_lines_on_request(table):
    path = table('a,note,y\n1,"one\ntwo",u\n2,n,v\n')
    options = CLASSES | {"drop_columns": ["note"]}
    assert len(data.from_csv(path, **options, multiline=True).x) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,b,y\n1,2,3\n4,x5,6\n7,8,9\n",
            "Row 2, column 'b' .* got 'x5'.*missing_marks",
        ),
        ("a,b,y\n1,,3\n", "Row 1, column 'b' of .* has no value, but ''.*\"drop\""),
        ("a,b,y\n1,2,3\n1,nan,3\n", "Row 2, column 'b' .* has no value, but 'nan'"),
        ("a,b,y\n1,2,inf\n", "Row 1, column 'y' .* must be a finite number.*'inf'"),
        ("a,b,y\n1,2,1e999\n", "Row 1, column 'y' .* must be a finite number.*'1e999'"),
        ("a,b,y\n1,2,1_0\n", "Row 1, column 'y' .* must be a finite number.*'1_0'"),
        ('a,b,y\n1,2,3\n1,"2,5",3\n2,3,4\n', '`decimal` = ","'),
        ("a,b,y\n1,2,3\n1,2\n", "Row 2, column 'y' of .* has no value"),
        ("a,b,y\n1,2,3\n1,2,3,4\n", "Line 3 of .* must have 3 cells .*, got 4"),
        ("a,b,y\n", "has no samples"),
        ("", "has no samples"),
        ("a,a,y\n1,2,3\n", "more than one column 'a'"),
        ("a,b,Y1\n1,2,3\n", "`target_columns` has 'y', but .* no such column. Known"),
        ("a,b,yy\n1,2,3\n", "Did you mean 'yy'"),
        ("1,2,3\n1,2,3\n", "no such column.* `header` = false"),
        ("a;b;y\n1;2;3\n", 'Only one column was found: set `separator` = ";"'),
        ("'a','y'\n1,2\n", "single quotes: set `quote`"),
        ("y\n1\n", "`feature_columns` must name at least one column"),
        (
            "d,n,a,y\n2012/01/31,x,1,2\n2012/02/01,y,2,3\n",
            r"Columns 'd' \(dates.*row 1\), 'n' \(text.* = \[\"d\", \"n\"\], or name",
        ),
    ],
)
def test_a_table_is_refused(table, text, message):
    with pytest.raises(ValueError, match=message):
        data.from_csv(table(text), **NUMBERS)


def test_truth_values_are_inputs(table):
    path = table("a,y\nTrue,1\nfalse,2\nTRUE,3\n")
    assert data.from_csv(path, **NUMBERS).x[:, 0].tolist() == [1, 0, 1]


def test_bad_arguments(table, tmp_path):
    path = table(IRIS)
    options = {"task": "classification", "target_columns": "species"}
    with pytest.raises(FileNotFoundError, match=r"There is no data file .*none.csv"):
        data.from_csv(tmp_path / "none.csv", **options)
    for columns, message in (
        (["species", "width"], "must name one column of .*, got"),
        ([], "must name one column of .*, got none. It has 'width'"),
        (None, "must name one column of .*, got none"),
    ):
        with pytest.raises(ValueError, match=message):
            data.from_csv(path, task="classification", target_columns=columns)
    with pytest.raises(ValueError, match=r"`feature_columns` has 'with'.*'width'"):
        data.from_csv(path, **options, feature_columns=["with"])
    with pytest.raises(ValueError, match="not a target, and no target and no column"):
        data.from_csv(path, **options, feature_columns=["species"])
    for name, value in (
        ("separator", ", "),
        ("separator", ""),
        ("quote", "''"),
        ("comment", "//"),
        ("decimal", "1"),
        ("thousands", ",,"),
        ("thousands", "."),
        ("compression", "rar"),
        ("skip_rows", -1),
        ("missing", "ignore"),
        ("task", "clustering"),
    ):
        with pytest.raises(
            ValueError, match=f"`{name}`.* must|`thousands` must differ"
        ):
            data.from_csv(path, **(options | {name: value}))


def test_without_pandas_a_sentence(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        ImportError, match=r"needs pandas. .*pip install 'mfpde\[data\]'"
    ):
        data.from_csv(table(IRIS), **CLASSES)


def test_a_sample_in_the_place_of_names(table):
    with pytest.warns(DataWarning, match=r"has '5\.1' among .*`header` = false"):
        data.from_csv(
            table("5.1,3\n4.9,2\n4.7,1\n1,5\n"), task="regression", target_columns="3"
        )
    with pytest.raises(ValueError, match=r"more than one column '0'.*`header` = false"):
        data.from_csv(table("0,0,1\n4,2,1\n"), task="regression", target_columns="1")


# Missing values


GAPS = "a,b,y\n1,NA,0\n,2,1\n3,4,0\n5,6,\n7,9,1\n"


def test_missing_values_are_dropped_on_request(table):
    found = data.from_csv(table(GAPS), **CLASSES, missing="drop")
    assert found.x.tolist() == [[3, 4], [7, 9]]
    assert (found.y.tolist(), found.rows.tolist()) == ([0, 1], [2, 4])
    assert found.n_dropped == 3
    loaded = data.load(
        {"source": "csv", "path": "a.csv", "missing": "drop"} | CLASSES,
        table(GAPS).parent,
    )
    assert "3 rows with missing values left out" in loaded.summary()
    assert loaded.preprocessing["train_index"].tolist() == [2, 4]
    with pytest.raises(ValueError, match=r"Every row of .* has a missing value"):
        data.from_csv(table("a,y\nNA,1\n2,NA\n"), **CLASSES, missing="drop")


def test_missing_inputs_are_filled_with_the_mean_of_the_training_samples(table):
    text = GAPS.replace("5,6,\n", "5,6,1\n")
    description = {"source": "csv", "path": "a.csv", "missing": "fill"} | CLASSES
    loaded = data.load(description, table(text).parent)
    assert loaded.x[0].tolist() == [1, (2 + 4 + 6 + 9) / 4]
    assert loaded.x[1].tolist() == [(1 + 3 + 5 + 7) / 4, 2]
    assert loaded.transform([[np.nan, 1.0]]).tolist() == [[4, 1]]
    split = data.load(
        description | {"test_fraction": 0.4, "seed": 1}, table(text).parent
    )
    rows = split.preprocessing["train_index"]
    given = np.array([[1, np.nan], [np.nan, 2], [3, 4], [5, 6], [7, 9]])
    assert np.allclose(split.preprocessing["fill"], np.nanmean(given[rows], axis=0))
    with pytest.raises(ValueError, match=r"Row 4, column 'y' .* has no value"):
        data.load(description, table(GAPS).parent)
    with pytest.raises(ValueError, match="Feature 'b' has no value in any training"):
        data.load(description, table("a,b,y\n1,NA,0\n2,NA,1\n").parent)


def test_marks_of_missing_values(table):
    path = table("a,y\n1,0\n?,1\n-999,0\n4,1\n")
    found = data.from_csv(path, **CLASSES, missing="drop", missing_marks=["?", "-999"])
    assert found.x.tolist() == [[1], [4]]


# Classes and the task


def test_missing_labels_are_no_class(table):
    path = table("a,y\n1,u\n2,NA\n3,nan\n4,v\n5,u\n")
    with pytest.raises(
        ValueError, match=r"Row 2, column 'y' .* has no value, but 'NA'"
    ):
        data.from_csv(path, **CLASSES)
    assert data.from_csv(path, **CLASSES, missing="drop").class_names == ("u", "v")
    # Who has a class of that name says so.
    found = data.from_csv(
        table("a,y\n1,u\n2,NA\n3,u\n4,NA\n"), **CLASSES, missing_marks=[]
    )
    assert found.class_names == ("NA", "u")


@pytest.mark.parametrize(
    ("labels", "name"),
    [(["1", "1.0"], "1"), (["7", "007"], "7"), (["1e1", "10"], "10")],
)
def test_one_number_is_one_class(table, labels, name):
    text = "a,y\n" + "".join(
        f"{i},{label}\n" for i, label in enumerate([*labels, "2", "2"])
    )
    with pytest.warns(DataWarning, match="are the same number and so one class"):
        found = data.from_csv(table(text), **CLASSES)
    assert sorted(found.class_names, key=float) == sorted([name, "2"], key=float)
    assert len(set(found.y[:2])) == 1


def test_numbers_of_any_size_are_labels(table):
    for large in ("1e999999999", "1e99999999999999999999999"):
        found = data.from_csv(table(f"a,y\n1,{large}\n2,3\n3,{large}\n"), **CLASSES)
        assert found.class_names == ("3", large)


def test_wrong_kinds_are_sentences(table):
    path = table(IRIS)
    for name, value in (
        ("path", None),
        ("task", 3),
        ("target_columns", 3),
        ("feature_columns", "width"),
        ("drop_columns", [3]),
        ("missing_marks", "NA"),
        ("header", 1),
        ("skip_rows", 1.5),
        ("encoding", b"utf-8"),
    ):
        options = {"path": path} | CLASSES | {name: value}
        with pytest.raises(TypeError, match=rf"^`{name}` must be .*, got"):
            data.from_csv(**options)


def test_large_numbers_are_compared_exactly(table):
    found = data.from_csv(
        table(f"a,y\n1,{2**53}\n2,{2**53 + 1}\n3,{2**53}\n4,{2**53 + 1}\n"), **CLASSES
    )
    assert found.class_names == (str(2**53), str(2**53 + 1))


def test_the_data_contradict_a_classification(table):
    numbers = "a,y\n" + "".join(f"{i},{i / 7}\n" for i in range(20))
    with pytest.raises(
        ValueError, match=r'not whole.*20 different.*`task` = "regression"'
    ):
        data.from_csv(table(numbers), **CLASSES)
    description = {"source": "csv", "path": "a.csv"} | CLASSES
    many = "a,y\n" + "".join(f"{i},{i // 2 * 2 + i % 2 * (i < 6)}\n" for i in range(20))
    with pytest.warns(DataWarning, match="13 classes in 20 samples, more than half"):
        data.load(description, table(many).parent)
    with pytest.raises(ValueError, match="at least two classes, got one in 3 samples"):
        data.load(description, table("a,y\n1,u\n2,u\n3,u\n").parent)


def test_the_data_contradict_a_regression(table):
    path = table("a,y\n1,u\n2,v\n")
    with pytest.raises(
        ValueError, match=r'to be a target of a regression.*`task` = "cla'
    ):
        data.from_csv(path, **NUMBERS)
    path = table("a,y\n1,0\n2,1\n3,1\n")
    with pytest.warns(
        DataWarning, match="'y' of a regression has only the values 0 and"
    ):
        data.from_csv(path, **NUMBERS)


# Files of their own for targets and test samples


def test_a_table_of_targets_and_test_tables(tmp_path):
    write(tmp_path / "x.csv", "a,b\n1,2\n3,4\n5,6\n")
    write(tmp_path / "y.csv", "c\n10\n20\n30\n")
    write(tmp_path / "u.csv", "a,b\n7,8\n")
    write(tmp_path / "v.csv", "c\n40\n")
    description = {
        "source": "csv",
        "task": "regression",
        "path": "x.csv",
        "target_path": "y.csv",
        "test_path": "u.csv",
        "test_target_path": "v.csv",
    }
    found = data.load(description, tmp_path)
    assert (found.x.tolist(), found.x_test.tolist()) == (
        [[1, 2], [3, 4], [5, 6]],
        [[7, 8]],
    )
    assert (found.y[:, 0].tolist(), found.y_test.tolist()) == ([10, 20, 30], [[40]])
    assert (found.target_names, found.column_names) == (("c",), ("a", "b", "c"))
    assert [name for name, _ in found.sources] == ["x.csv", "y.csv", "u.csv", "v.csv"]
    with pytest.raises(ValueError, match="`test_target_path` must be given with"):
        data.load(
            {k: v for k, v in description.items() if k != "test_target_path"}, tmp_path
        )
    write(tmp_path / "u.csv", "a,c\n7,8\n")
    with pytest.raises(
        ValueError, match=r"u\.csv and its targets must have the columns"
    ):
        data.load(description, tmp_path)
    write(tmp_path / "y.csv", "c\n10\n20\n")
    with pytest.raises(ValueError, match="one row of targets for each of the 3 inputs"):
        data.load(description, tmp_path)


def test_test_samples_share_the_classes(tmp_path):
    write(tmp_path / "a.csv", "a,y\n1,u\n2,v\n3,v\n4,u\n")
    write(tmp_path / "b.csv", "a,y\n5,w\n6,u\n")
    found = data.load(
        {"source": "csv", "path": "a.csv", "test_path": "b.csv"} | CLASSES, tmp_path
    )
    assert found.class_names == ("u", "v", "w")
    assert found.labels_test.tolist() == [2, 0]


def test_npy(tmp_path):
    x, labels = some_samples()
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", labels)
    np.save(tmp_path / "xy.npy", np.column_stack([x, labels]))
    for options in (
        {"path": "x.npy", "target_path": "y.npy"},
        {"path": "xy.npy", "target_columns": "5"},
    ):
        found = data.load(
            {"source": "npy", "task": "classification"} | options, tmp_path
        )
        assert np.array_equal(found.x, x)
        assert np.array_equal(found.labels, labels)
        assert found.class_names == ("0", "1", "2")
    np.savez(tmp_path / "z.npz", x=x, y=labels)
    for name, content, message in (
        ("z.npz", None, '`source` = "npz"'),
        ("t.npy", b"text", "is not an NPY file"),
        ("o.npy", np.array([{}], dtype=object), "is not an NPY file: Object arrays"),
        ("c.npy", np.zeros((2, 2, 2)), r"must have shape .*\(2, 2, 2\)"),
    ):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            np.save(path, content)
        with pytest.raises(ValueError, match=message):
            data.from_npy(path, task="regression", target_columns="0")
    np.save(tmp_path / "c.npy", 1j * x)
    with pytest.raises(TypeError, match="must hold real numbers or strings"):
        data.from_npy(tmp_path / "c.npy", task="regression", target_columns="0")


def test_npz(tmp_path):
    path = tmp_path / "a.npz"
    x, labels = some_samples()
    names = np.array(["a", "b"])[labels % 2]
    np.savez(path, x=x, y=labels * 2 - 2, names=names, v=x, whole=labels * 1.0)
    found = data.from_npz(path, task="classification")
    assert np.array_equal(found.x, x)
    assert np.array_equal(found.y, labels)
    assert found.class_names == ("-2", "0", "2")
    for y, classes in (("names", ("a", "b")), ("whole", ("0", "1", "2"))):
        found = data.from_npz(path, y=y, task="classification")
        assert found.class_names == classes
    assert data.from_npz(path, y="v", task="regression").y.shape == (40, 5)
    assert data.from_npz(path, task="regression").y.shape == (40, 1)


def test_npz_with_a_test_set(tmp_path):
    x, labels = some_samples()
    parts = {"u": x[30:], "v": labels[30:], "w": x[:, 1:]}
    np.savez(tmp_path / "a.npz", x=x[:30], y=labels[:30], **parts)
    description = {"source": "npz", "path": "a.npz", "task": "classification"}
    dataset = data.load(description | {"x_test": "u", "y_test": "v"}, tmp_path)
    assert np.array_equal(dataset.x, x[:30])
    assert np.array_equal(dataset.x_test, x[30:])
    assert np.array_equal(dataset.labels_test, labels[30:])
    with pytest.raises(ValueError, match="both be given, or neither"):
        data.load(description | {"x_test": "u"}, tmp_path)
    with pytest.raises(ValueError, match="targets must have the columns of"):
        data.from_npz(tmp_path / "a.npz", task="regression", x_test="w", y_test="w")


def test_npz_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    x, labels = some_samples()
    nan = x.copy()
    nan[3, 1] = np.nan
    np.savez(
        path,
        x=x,
        y=labels,
        nan=nan,
        short=labels[1:],
        images=x.reshape(40, 5, 1),
        objects=np.array([{}], dtype=object),
    )
    values = {"task": "regression"}
    with pytest.raises(ValueError, match=r"has no array 'yy'\. Did you mean 'y'"):
        data.from_npz(path, y="yy", **values)
    with pytest.raises(
        ValueError, match=r"Row 4, column 'x1' .* has no value, but 'nan'"
    ):
        data.from_npz(path, x="nan", **values)
    assert len(data.from_npz(path, x="nan", missing="drop", **values).x) == 39
    with pytest.raises(ValueError, match="one row of targets for each of the 40"):
        data.from_npz(path, y="short", **values)
    with pytest.raises(
        ValueError, match=r"`images` of .* must have shape .*\(40, 5, 1\)"
    ):
        data.from_npz(path, x="images", **values)
    with pytest.raises(ValueError, match=r"`images` of .* must have shape"):
        data.from_npz(path, y="images", **values)
    with pytest.raises(ValueError, match="cannot be read: Object arrays"):
        data.from_npz(path, y="objects", **values)
    with pytest.raises(ValueError, match="must name one column"):
        data.from_npz(path, y="x", task="classification")
    with pytest.raises(FileNotFoundError, match="There is no data file"):
        data.from_npz(tmp_path / "none.npz", **values)


def test_npz_damaged(tmp_path):
    path = tmp_path / "a.npz"
    values = {"task": "regression"}
    np.savez(path, x=np.arange(1000.0)[:, None], y=np.arange(1000.0))
    content = path.read_bytes()
    path.write_bytes(content[:5000])
    with pytest.raises(ValueError, match="is not an NPZ file"):
        data.from_npz(path, **values)
    damaged = bytearray(content)
    damaged[3000] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="cannot be read: Bad CRC"):
        data.from_npz(path, **values)
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(ValueError, match="not an NPZ file but a single array"):
        data.from_npz(tmp_path / "b.npy", **values)
    write(path, "text")
    with pytest.raises(ValueError, match="is not an NPZ file"):
        data.from_npz(path, **values)
