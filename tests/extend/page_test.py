"""A page that no longer fits its sources is found, with the line of the page and what is wrong."""
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import page

TEXT = """# Extend
| | new files | changed | of tests |
|---|---|---|---|
| [op](#an-op) | 1 | 1 | 1 |

## An op

**New** `runtime/x.h`

```cpp
int x();
```

**In** `models/y.h`, after `int b();`

```cpp
int c();
```

**New** `tests/x_test.cpp`

```cpp
test
```
"""


class Page(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.write("models/y.h", "int a();\nint b();\nint d();\n")

    def tearDown(self):
        self.folder.cleanup()

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def follow(self, text):
        self.write(page.PAGE, text)
        into = self.root / "copy"
        shutil.rmtree(into, ignore_errors=True)
        files = page.follow(self.root, into)
        return {file: (into / file).read_text() for file in files}

    def expect_fault(self, text, words):
        with self.assertRaises(page.PageError) as caught:
            self.follow(text)
        self.assertIn(words, str(caught.exception))

    def test_blocks_go_where_they_say(self):
        self.assertEqual(self.follow(TEXT), {"runtime/x.h": "int x();\n", "models/y.h": "int a();\nint b();\nint c();\nint d();\n",
                                             "tests/x_test.cpp": "test\n"})

    def test_before_and_in_place_of(self):
        self.assertEqual(self.follow(TEXT.replace("after `int b", "before `int b"))["models/y.h"], "int a();\nint c();\nint b();\nint d();\n")
        self.assertEqual(self.follow(TEXT.replace("after `int b();`", "in place of `int b();`"))["models/y.h"],
                         "int a();\nint c();\nint d();\n")

    def test_a_line_that_is_gone_or_there_twice(self):
        self.write("models/y.h", "int a();\n")
        self.expect_fault(TEXT, "docs/extending.md:16: `int b();` stands 0 times in models/y.h")
        self.write("models/y.h", "int b();\nint b();\n")
        self.expect_fault(TEXT, "stands 2 times")

    def test_files_that_are_there_or_not(self):
        self.write("runtime/x.h", "")
        self.expect_fault(TEXT, "docs/extending.md:10: runtime/x.h is there already")
        self.expect_fault(TEXT.replace("models/y.h", "models/z.h").replace("`runtime/x.h`", "`runtime/w.h`"), "there is no models/z.h")

    def test_blocks_without_a_place_and_wrong_marks(self):
        self.expect_fault(TEXT.replace("**New** `runtime/x.h`\n", "A file:\n"), "does not say to which file")
        self.expect_fault(TEXT.replace(", after `int b();`", ""), "expected **New**")

    def test_numbers_of_the_table(self):
        self.expect_fault(TEXT.replace("| 1 | 1 | 1 |", "| 2 | 1 | 1 |"), "the table says (2, 1, 1) of an-op, the page has (1, 1, 1)")


if __name__ == "__main__":
    unittest.main()
