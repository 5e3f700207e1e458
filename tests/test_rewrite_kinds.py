"""What each kind of fix writes in an expression or a comment, in the shapes that scripts have."""

from __future__ import annotations

import pytest
import torch
from test_rewrite import fixed, refused

# wrap-list


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("it = «model.named_parameters()»  # c\n", "it = list(model.named_parameters())  # c\n"),
        ("it: Iterator[T] = «model.parameters()»; n = 0\n", "it: Iterator[T] = list(model.parameters()); n = 0\n"),
        ("if (it := «m.parameters()») and it:\n\tpass\n", "if (it := list(m.parameters())) and it:\n\tpass\n"),
        ("it = «(p for p in ps)»\n", "it = list(p for p in ps)\n"),
        ("f(«x for x in y»)\n", "f(list(x for x in y))\n"),
        ("it = «a, b»\n", "it = list((a, b))\n"),
        ("it = «a if b else c»\n", "it = list(a if b else c)\n"),
        ("it = «m.filter(\n    a,  # one\n    b,\n)»\n", "it = list(m.filter(\n    a,  # one\n    b,\n))\n"),
        ("async def f():\n    it = «await g()»\n", "async def f():\n    it = list(await g())\n"),
    ],
)
def test_an_iterator_becomes_a_list(before: str, after: str):
    assert fixed("wrap-list", before) == after


@pytest.mark.parametrize("text", ["it = list(«m.parameters()»)\n", "it = «list(m.parameters())»\n", "it = «[1]»\n"])
def test_what_is_a_list_stays(text: str):
    assert refused("wrap-list", text) == "it is a list already"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            'def f(ps):\n    """Doc."""\n\n    # why\n    a = ps\n',
            'def f(ps):\n    """Doc."""\n\n    ps = list(ps)\n    # why\n    a = ps\n',
        ),
        (
            "@cached\nasync def f(self, *, ps: Iterable[T] = ()) -> None:  # c\n\treturn ps\n",
            "@cached\nasync def f(self, *, ps: Iterable[T] = ()) -> None:  # c\n\tps = list(ps)\n\treturn ps\n",
        ),
        ("def f(ps): return ps, ps\n", "def f(ps): ps = list(ps); return ps, ps\n"),
        (
            "def f(\n    ps=None,  # c\n):\n    return ps\n",
            "def f(\n    ps=None,  # c\n):\n    ps = None if ps is None else list(ps)\n    return ps\n",
        ),
        (
            "class A:\n  def f(ps, /):\n    @g\n    def h():\n      pass\n",
            "class A:\n  def f(ps, /):\n    ps = list(ps)\n    @g\n    def h():\n      pass\n",
        ),
    ],
)
def test_an_argument_becomes_a_list_first(before: str, after: str):
    head, _, tail = before.partition("async def" if "async" in before else "def")
    text = f"{head}«{'async def' if 'async' in before else 'def'}{tail.rstrip()}»\n"
    assert fixed("wrap-list", text, parameter="ps") == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "def f(ps):\n    if x:\n        # why\n        «a = [p for p in ps]»  # c\n        b = list(ps)\n",
            "def f(ps):\n    if x:\n        ps = list(ps)\n        # why\n        a = [p for p in ps]  # c\n"
            "        b = list(ps)\n",
        ),
        ("def f(ps):\n\t«for p in ps:\n\t\tpass»\n", "def f(ps):\n\tps = list(ps)\n\tfor p in ps:\n\t\tpass\n"),
    ],
)
def test_an_argument_becomes_a_list_where_it_is_walked(before: str, after: str):
    assert fixed("wrap-list", before, parameter="ps") == after


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("«def f(*ps):\n    return ps»\n", "`ps` can be walked twice"),
        ("«def f(qs):\n    return qs»\n", "the function has no parameter `ps`"),
        ("«def f(ps):\n    ps = list(ps)  # c\n    return ps»\n", "it is a list already"),
        ('«def f(ps):\n    """Doc."""»\n', "the function does nothing"),
        ("def f(ps):\n    ps = list(ps)\n    «for p in ps:\n        pass»\n", "it is a list already"),
    ],
)
def test_arguments_that_are_left(text: str, reason: str):
    assert refused("wrap-list", text, parameter="ps") == reason


# ordered-set


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ps = list(«set(ps)»)\n", "ps = list(dict.fromkeys(ps))\n"),
        ("ps = «list(set(ps))»\n", "ps = list(dict.fromkeys(ps))\n"),
        ("ps = «frozenset( m.parameters() )»\n", "ps = dict.fromkeys( m.parameters() )\n"),
        ("ps = «set(p for p in m)»\n", "ps = dict.fromkeys(p for p in m)\n"),
        (
            "ps = «{\n\tp  # it\n\tfor p in m\n}»  # end\n",
            "ps = dict.fromkeys(\n\tp  # it\n\tfor p in m\n)  # end\n",
        ),
        ("for p in «{*ps}»: pass\n", "for p in dict.fromkeys(ps): pass\n"),
        ("for p in «{*ps, *qs,}»: pass\n", "for p in dict.fromkeys([*ps, *qs,]): pass\n"),
        ("for p in «{a, b}»: pass\n", "for p in dict.fromkeys([a, b]): pass\n"),
        ("seen = «set(ps)»\nif p in seen: f(seen)\n", "seen = dict.fromkeys(ps)\nif p in seen: f(seen)\n"),
    ],
)
def test_a_set_becomes_ordered(before: str, after: str):
    assert fixed("ordered-set", before) == after


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ps = «set()»\n", "nothing is put in here"),
        ("ps = «sorted(x)»\n", "it is no set"),
        ("ps = «dict.fromkeys(x)»\n", "it has an order already"),
        ("ps = «set(x)» - y\n", "set arithmetic is done with it"),
        ("ps = «{x}»\nps |= {y}\n", "set arithmetic is done with it"),
        ("ps = «set(x)»\nps.add(y)\n", "`.add` is called on it"),
        ("def f():\n    self.ps = «set(x)»\n    self.ps.discard(y)\n", "`.discard` is called on it"),
        ("assert y == «set(x)»\n", "it is compared as a set"),
        ("ps: set[int] = «set(x)»\n", "it is declared as a set"),
    ],
)
def test_sets_that_stay_sets(text: str, reason: str):
    assert refused("ordered-set", text) == reason


# deprecated-signature


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("p.data.add_(-lr, d_p)", "p.data.add_(d_p, alpha=-lr)"),
        ("x.sub_(2, y)", "x.sub_(y, alpha=2)"),
        ("m.mul_(b).add_(1 - b, grad)", "m.mul_(b).add_(grad, alpha=1 - b)"),
        ("v.addcmul_(1 - b, g, g.conj())", "v.addcmul_(g, g.conj(), value=1 - b)"),
        ("p.addcdiv_(-step, m, v.sqrt().add_(eps))", "p.addcdiv_(m, v.sqrt().add_(eps), value=-step)"),
        ("x.baddbmm_(b, a, y, z)", "x.baddbmm_(y, z, beta=b, alpha=a)"),
        ("x.addmm(b, y, z)", "x.addmm(y, z, beta=b)"),
        ("torch.add(x, 2, y, out=z)", "torch.add(x, y, alpha=2, out=z)"),
        ("torch.addmm(b, x, a, y, z)", "torch.addmm(x, y, z, beta=b, alpha=a)"),
        ("torch.addr(b, x, y, z)", "torch.addr(x, y, z, beta=b)"),
        ("x.add_((s := 2), y)", "x.add_(y, alpha=(s := 2))"),
        ("x.add_(\n    -lr,  # rate\n    y,\n)", "x.add_(\n    y,  # rate\n    alpha=-lr,\n)"),
    ],
)
def test_a_scalar_goes_behind_the_tensors(before: str, after: str):
    assert fixed("deprecated-signature", f"if ü: «{before}»; y = 1\n") == f"if ü: {after}; y = 1\n"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "call",
    [
        *("x.add_(2, y)", "x.sub_(2, y)", "x.addcmul_(2, y, z)", "x.addcdiv_(2, y, z)", "x.addmm_(2, 3, y, z)"),
        *("x.addmm_(2, y, z)", "torch.add(x, 2, y)", "torch.addcmul(x, 2, y, z)", "torch.addmm(2, x, 3, y, z)"),
        *("torch.addmm(2, x, y, z)", "x.addmv(2, 3, y, z)[0]", "torch.addr(2, x, 3, y, z)"),
    ],
)
def test_what_is_computed_stays_the_same(call: str):
    def value(text: str) -> torch.Tensor:
        x, y, z = torch.arange(27.0).reshape(3, 3, 3) + 1
        if "addmv" in text:
            x, z = x[0], z[0]
        if "addr" in text:
            y, z = y[0], z[0]
        return eval(text, {"torch": torch, "x": x, "y": y, "z": z})

    end = call.rindex(")") + 1
    new = fixed("deprecated-signature", f"«{call[:end]}»{call[end:]}\n")
    assert torch.equal(value(call), value(new.strip()))


@pytest.mark.parametrize(
    "call", ["x.add_(y, alpha=2)", "torch.add(x, y)", "x.addcmul_(y, z, value=1)", "x.lerp_(2, y)"]
)
def test_calls_in_order_stay(call: str):
    assert refused("deprecated-signature", f"«{call}»\n") == "its arguments are in order already"


def test_calls_that_cannot_be_told_stay():
    assert refused("deprecated-signature", "«x.add_(*y, z)»\n") == "its arguments cannot be told apart"
    assert refused("deprecated-signature", "«x.add_(2, y)»\n", keyword="value") == "it takes no `value` here"


# remove-comment and replace-text


@pytest.mark.parametrize(
    ("before", "after", "data"),
    [
        ("x = 1  «# gone»\ny = 2\n", "x = 1\ny = 2\n", {}),
        ("if x:\n    «# gone»\n    y = 2\n", "if x:\n    y = 2\n", {}),
        ("x = [  «# gone»\n\t1,\n\t«# also»\n]\n".replace("«# also»", "# also"), "x = [\n\t1,\n\t# also\n]\n", {}),
        ("x = 1  # why  «# gone»\n", "x = 1  # why\n", {}),
        ("x = 1  «# gone»  # why\n", "x = 1  # why\n", {}),
        ("x = 1  «# gone and more»\n", "x = 1  # more\n", {"keep": "# more"}),
        ("x = '#'\r\n«# gone»\r\n", "x = '#'\r\n", {}),
    ],
)
def test_a_comment_goes(before: str, after: str, data: dict[str, str]):
    assert fixed("remove-comment", before, **data) == after


def test_no_comment_is_no_comment():
    assert refused("remove-comment", "x = '«# no»'\n") == "there is no comment"
    assert refused("remove-comment", "x = 1  «# stays»\n", keep="# stays") == "it is there already"


def test_a_text_is_replaced():
    assert fixed("replace-text", 'a = «"Embed"» in n.lower()\n', text='"embed"') == 'a = "embed" in n.lower()\n'
    assert fixed("replace-text", "a = b[«i»]\n", text="i + 1") == "a = b[i + 1]\n"
    assert refused("replace-text", "a = «b +» c\n", text="d") == "no expression stands exactly there"
