"""Which trees migrate to the same database: what changes the key, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bisect_celery.lab.migrated import key
from bisect_celery.lab.plan import Plan
from bisect_celery.model import Environment, Probe

FILES = {
    "manage.py": "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'\n",
    "shop/__init__.py": "",
    "shop/settings/__init__.py": "from .base import *\n",
    "shop/settings/base.py": "INSTALLED_APPS = ['orders']\n",
    "orders/__init__.py": "",
    "orders/models.py": "x = 1\n",
    "orders/slugs.py": "from orders import words\n",
    "orders/words.py": "WORDS = ()\n",
    "orders/tasks.py": "def place(): ...\n",
    "orders/migrations/__init__.py": "",
    "orders/migrations/0001_initial.py": (
        "from django.db import (\n    migrations,\n)\nfrom ..slugs import (  # ours\n  a,\n)\n"
    ),
    "orders/fixtures/first.json": "[]",
}
PLAN = Plan("shop", Probe(), migrate="python manage.py migrate", django_settings="shop.settings")
HERE = Environment("key", "/env/bin/python", "/env/bin")


def written(folder: Path, changed: dict[str, str] | None = None) -> Path:
    for name, text in {**FILES, **(changed or {})}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    "name",
    ["orders/tasks.py", "orders/models.py", "README.md", "orders/views.py"],
)
def test_what_no_migration_reaches_changes_nothing(tmp_path: Path, name: str) -> None:
    before = key(written(tmp_path / "a"), PLAN, HERE)
    assert before is not None
    assert key(written(tmp_path / "b", {name: "changed = True\n"}), PLAN, HERE) == before


@pytest.mark.parametrize(
    "name",
    [
        "orders/migrations/0001_initial.py",
        "orders/migrations/0002_more.py",
        "orders/migrations/view.sql",
        "orders/fixtures/first.json",
        "orders/slugs.py",  # imported by a migration
        "orders/words.py",  # imported by that
        "orders/__init__.py",  # run on the way
        "shop/settings/base.py",
        "manage.py",  # named by the command
    ],
)
def test_whatever_a_migration_may_read_changes_the_key(tmp_path: Path, name: str) -> None:
    before = key(written(tmp_path / "a"), PLAN, HERE)
    assert key(written(tmp_path / "b", {name: "changed = True\n"}), PLAN, HERE) not in (before, None)


def test_a_removed_migration_changes_the_key(tmp_path: Path) -> None:
    before = key(written(tmp_path / "a"), PLAN, HERE)
    tree = written(tmp_path / "b")
    (tree / "orders/migrations/0001_initial.py").unlink()
    assert key(tree, PLAN, HERE) not in (before, None)


def test_another_command_environment_or_variable_is_another_key(tmp_path: Path) -> None:
    tree = written(tmp_path)
    plans = [
        PLAN,
        Plan("shop", Probe(), migrate="python manage.py migrate orders", django_settings="shop.settings"),
        Plan("shop", Probe(), migrate=PLAN.migrate, django_settings="shop.settings", variables=(("A", "1"),)),
        Plan("shop", Probe(), migrate=PLAN.migrate, django_settings="shop.settings", services=("postgres",)),
    ]
    keys = [key(tree, plan, HERE) for plan in plans]
    keys.append(key(tree, PLAN, Environment("other", "/env/bin/python", "/env/bin")))
    assert len(set(keys)) == len(keys)


def test_without_migrations_that_we_know_of_nothing_is_copied(tmp_path: Path) -> None:
    (tmp_path / "schema.sh").write_text("psql < schema.sql")
    (tmp_path / "schema.sql").write_text("CREATE TABLE a (b int)")
    assert key(tmp_path, Plan("shop", Probe(), migrate="sh schema.sh"), HERE) is None
    assert key(written(tmp_path), Plan("shop", Probe()), HERE) is None


def test_migrations_of_an_app_in_a_subfolder_and_in_src(tmp_path: Path) -> None:
    files = {
        "services/mail/src/mail/alembic/versions/1.py": "import mail.helpers\n",
        "services/mail/src/mail/__init__.py": "",
        "services/mail/src/mail/helpers.py": "a = 1\n",
    }
    plan = Plan(
        "mail", Probe(), migrate="alembic upgrade head", subfolder="services/mail", source_roots=("services/mail/src",)
    )
    before = key(written(tmp_path / "a", files), plan, HERE)
    changed = {**files, "services/mail/src/mail/helpers.py": "a = 2\n"}
    assert key(written(tmp_path / "b", changed), plan, HERE) != before


def test_what_is_no_file_any_more_is_read_as_what_it_is(tmp_path: Path) -> None:
    tree = written(tmp_path)
    (tree / "orders/migrations/0003_link.py").symlink_to("nowhere.py")
    (tree / "orders/migrations/0004_odd.py").write_bytes(
        b"from . import \xff\nimport \xfe, orders.words\nfrom .... import x\n"
    )
    assert key(tree, PLAN, HERE) is not None
