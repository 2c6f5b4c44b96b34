"""docs/extending.md as steps: what each of its code blocks does to which file."""
import re
from pathlib import Path

PAGE = "docs/extending.md"
MARK = re.compile(r"^\*\*(New|In)\*\* `([^`]+)`(?:, (after|before|in place of) `(.+)`)?$")


class PageError(Exception):
    """The page does not fit the sources: file and line of it, and why."""


class Step:
    def __init__(self, line, section, path, where, anchor, text):
        self.line, self.section, self.path, self.where, self.anchor, self.text = line, section, path, where, anchor, text

    def is_new(self):
        return self.where is None

    def is_test(self):
        return self.path.startswith("tests/") and not self.path.startswith("tests/lint/")

    def fail(self, why):
        raise PageError(f"{PAGE}:{self.line}: {why}")

    def applied_to(self, old):
        """The file's new text; old is None where there is no such file."""
        if self.is_new():
            if old is not None:
                self.fail(f"{self.path} is there already")
            return self.text
        if old is None:
            self.fail(f"there is no {self.path}")
        count = old.count(self.anchor)
        if count != 1:
            self.fail(f"`{self.anchor}` stands {count} times in {self.path}, and has to stand there once")
        at = old.index(self.anchor)
        if self.where == "in place of":
            return old[:at] + self.text.rstrip("\n") + old[at + len(self.anchor):]
        begin, end = old.rfind("\n", 0, at) + 1, old.index("\n", at) + 1
        place = end if self.where == "after" else begin
        return old[:place] + self.text + old[place:]


def read_steps(root):
    """The steps of the page, in its order, and the rows of its table: section -> three numbers."""
    steps, table, section, mark, block, begun = [], {}, "", None, None, 0
    for number, line in enumerate((root / PAGE).read_text().splitlines(), 1):
        row = re.match(r"^\| \[[a-z]+\]\(#([a-z-]+)\) \| (\d+) \| (\d+) \| (\d+) \|", line)
        if block is not None:
            if line == "```":
                if mark:
                    steps.append(Step(begun, section, mark[0], mark[1], mark[2], "".join(block)))
                block = mark = None
            else:
                block.append(line + "\n")
        elif line.startswith("```"):
            block, begun = [], number
            if not mark and not line.startswith("```sh"):
                raise PageError(f"{PAGE}:{number}: this block does not say to which file it goes")
        elif line.startswith("## "):
            section = re.sub(r"\W+", "-", line[3:].lower())
        elif line.startswith("**New**") or line.startswith("**In**"):
            match = MARK.match(line)
            if not match or (match[1] == "New") == bool(match[3]):
                raise PageError(f"{PAGE}:{number}: expected **New** `FILE`, or **In** `FILE`, after `LINE` (before, in place of)")
            mark = (match[2], match[3], match[4])
        elif row:
            table[row[1]] = tuple(int(n) for n in row.groups()[1:])
    return steps, table


def check_table(steps, table):
    """New files, changed files, and files of tests are as many as the table says."""
    for section in dict.fromkeys(step.section for step in steps):
        of_section = [step for step in steps if step.section == section]
        code = [step for step in of_section if not step.is_test()]
        counted = (len([step for step in code if step.is_new()]), len({step.path for step in code if not step.is_new()}),
                   len({step.path for step in of_section if step.is_test()}))
        if table.get(section) != counted:
            raise PageError(f"{PAGE}: the table says {table.get(section)} of {section}, the page has {counted}")


def follow(root, into):
    """Writes what the page makes of the sources of `root` below `into`; the paths of all files that it touches."""
    steps, table = read_steps(root)
    check_table(steps, table)
    for step in steps:
        done, source = into / step.path, root / step.path
        if not done.exists() and source.exists():
            done.parent.mkdir(parents=True, exist_ok=True)
            done.write_text(source.read_text())
        text = step.applied_to(done.read_text() if done.exists() else None)
        done.parent.mkdir(parents=True, exist_ok=True)
        done.write_text(text)
    return list(dict.fromkeys(step.path for step in steps))


def root_of_sources():
    return Path(__file__).resolve().parents[2]
