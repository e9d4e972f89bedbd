#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/testdata/chat/snippets.json: small templates over the language and what jinja2, set up as transformers does, gives.

Usage: tools/make_template_snippets.py      (needs transformers and jinja2)
"""
import json
import pathlib

from transformers.utils.chat_template_utils import _compile_jinja_template

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "testdata" / "chat" / "snippets.json"

VARIABLES = {
    "s": "Hello, wörld 世界 👋", "blank": "", "pad": "  \t two words \n", "n": 7, "neg": -3, "f": 2.5, "one": 1.0, "tiny": 1e-7,
    "big": 2**63, "yes": True, "no": False, "nil": None, "l": [3, 1, 2, "x", None, True], "words": ["b", "A", "c", "a"],
    "nums": [5, 3, 9, 3, 1], "d": {"a": 1, "items": "hidden", "ü": [1, {"b": 2.0}], "z": "Z"},
    "rows": [{"r": "x", "v": 2, "t": {"k": "p"}}, {"r": "y", "v": 1}, {"r": "x", "v": 3, "t": {"k": "q"}}], "csv": "a,b,,c",
    "quote": "it's \"q\" \\ \n\t\u0001 </b>",
}

SNIPPETS = r"""
plain text
{{ s }}|{{ n }}|{{ f }}|{{ one }}|{{ tiny }}|{{ big }}|{{ yes }}|{{ nil }}|{{ missing }}|
{{ l }}{{ d }}{{ quote }}{{ [quote, 'a"b', "it's"] }}{{ (1,) }}{{ () }}{{ (1, 'a') }}
{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}
{{ 1 / 3 }} {{ 10 / 2 }} {{ 1e16 }} {{ 123456789012345680.0 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1e100 }} {{ 100.0 }} {{ 1_000 }}
{{ 2 ** -1 }} {{ 2 ** 0.5 }} {{ -n }} {{ +f }} {{ - - n }} {{ yes + yes }} {{ yes * 3 }} {{ 2 * f }}
{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ missing ~ [1] }} {{ 'ab' * 3 }} {{ [1, 2] * 2 }} {{ [1] + [2] }} {{ (1,) + (2,) }}
{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 == 1.0 }} {{ true == 1 }} {{ '1' == 1 }}
{{ 1 in l }} {{ 'x' in l }} {{ 9 not in l }} {{ 'a' in d }} {{ 'wör' in s }} {{ 'q' not in s }} {{ 1 in (1, 2) }} {{ x in missing }}
{{ yes and no }} {{ yes or no }} {{ not yes }} {{ blank or 'default' }} {{ n and s }} {{ not not n }} {{ nil and 1 }} {{ 0 or nil }}
{{ 'a' if yes else 'b' }} {{ 'a' if no else 'b' }} {{ 'a' if no }}| {{ 1 if no else 2 if no else 3 }} {{ ('x' if n > 3 else 'y') ~ 'z' }}
{{ s[0] }} {{ s[-1] }} {{ s[7] }} {{ s[99] }}| {{ s[:5] }} {{ s[7:12] }} {{ s[-3:] }} {{ s[::-1] }} {{ s[::2] }} {{ s[10:2:-3] }}
{{ l[0] }} {{ l[-1] }} {{ l[1:3] }} {{ l[::-1] }} {{ l[99] }}| {{ l[:99] }} {{ l[-2:] }} {{ l[4:1:-1] }} {{ l[::3] }} {{ l[1:][0] }}
{{ d.a }} {{ d['a'] }} {{ d['items'] }} {{ d.missing }}| {{ d['ü'][1].b }}
{{ rows[0].t.k }} {{ rows[1].t is defined }} {{ rows[1]['t'] }}| {{ rows.0.r }}|
{{ d.items() | list }} {{ d.keys() | list }} {{ d.values() | list }} {{ d.get('a') }} {{ d.get('q') }} {{ d.get('q', 5) }}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k in d %}{{ k }};{% endfor %}{% for k, v in d | items %}[{{ k }}]{% endfor %}{% for c in 'añ世' %}<{{ c }}>{% endfor %}
{% for x in nums %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}
{% for x in nums %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}|{{ loop.cycle('odd', 'even') }} {% endfor %}
{% for x in nums if x > 2 %}{{ x }}/{{ loop.length }} {% endfor %}{% for x in [] %}a{% else %}none{% endfor %}{% for x in nums if x > 99 %}a{% else %}none{% endfor %}
{% for x in nums %}{% if x == 9 %}{% break %}{% endif %}{{ x }}{% endfor %}{% for x in nums %}{% if x == 3 %}{% continue %}{% endif %}{{ x }}{% endfor %}
{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %}{% for (a, b) in [[1, 2]] %}{{ a + b }}{% endfor %}
{% for i in range(3) %}{% for j in range(2) %}{{ loop.depth }}{{ i }}{{ j }} {% endfor %}{{ loop.index }};{% endfor %}
{% for i in range(2, 10, 3) %}{{ i }} {% endfor %}{% for i in range(5, 0, -2) %}{{ i }} {% endfor %}{{ range(4) | list }}{{ range(3)[1] }}{{ range(5) | length }}
{% set x = 1 %}{% for i in [1, 2] %}{% set x = i * 10 %}{{ x }} {% endfor %}{{ x }}
{% set ns = namespace(x=1, y='q') %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}{{ ns.z }}|{{ ns.z is defined }}
{% set ns = namespace({'a': 5}, b=6) %}{{ ns.a }}{{ ns['b'] }}{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t = 1, 2 %}{{ t }}
{% if no %}a{% elif n == 7 %}b{% else %}c{% endif %}{% if no %}a{% elif no %}b{% else %}c{% endif %}{% if missing %}a{% endif %}{% if l and d and s %}d{% endif %}
{% if yes %}{% set y = 5 %}{% endif %}{{ y }}
{% set cap %}Block {{ n }}{% endset %}{{ cap }}{{ cap | length }}{% set up | upper %}abc{% endset %}{{ up }}
{% macro m(a, b=2, c='x') %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c='z') }}{{ m() }}{{ m(a=4, b=5) }}{{ m(1) | length }}
{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(4) }}{{ f is defined }}{{ f is callable }}
{% set g = 'global' %}{% macro m() %}{{ g }}{{ later }}{% set g = 'inner' %}{{ g }}{% endmacro %}{% set later = 'L' %}{{ m() }}{{ g }}
{% with q = 1, w = n %}{{ q }}{{ w }}{% endwith %}{{ q }}|{% filter upper %}abc {{ s }}{% endfilter %}
{% generation %}gen {{ n }}{% set zz = 1 %}{% endgeneration %}{{ zz }}|
{% raw %}{{ not }} {% parsed %}{% endraw %}|{%- raw -%}  x  {%- endraw -%}  |
a {# comment #} b {#- tight -#} c
{{ 'a' 'b' "c" }}{{ 'tab\tnl\nq\'x\x41\u00e9\U0001F600\101\q\\' }}{{ "dq\"'" }}
{{ {'a': 1, 'b': [1, 2], 'c': {'d': none}} }}{{ {'k': n}.k }}{{ {'a': 1}['a'] }}{{ [1, 2, 3,][1] }}{{ {} }}{{ [] }}
{{ d | tojson }}{{ l | tojson }}{{ s | tojson }}{{ quote | tojson }}{{ one | tojson }}{{ tiny | tojson }}{{ big | tojson }}{{ (1, 2) | tojson }}{{ nil | tojson }}
{{ d | tojson(indent=2) }}{{ l | tojson(indent=0) }}{{ {} | tojson(indent=2) }}{{ [[], {}] | tojson(indent=1) }}
{{ d | tojson(ensure_ascii=true) }}{{ s | tojson(ensure_ascii=True) }}{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}{{ d | tojson(separators=(',', ':')) }}{{ d | tojson(indent='--') }}
<{{ pad | trim }}><{{ pad.strip() }}><{{ pad.lstrip() }}><{{ pad.rstrip() }}><{{ 'xxhixx'.strip('x') }}><{{ 'abcxcba' | trim('abc') }}><{{ '\n\na\n'.lstrip('\n') }}>
{{ s | upper }}{{ s | lower }}{{ s.upper() }}{{ s.lower() }}{{ 'hello wORLD-foo it\'s' | title }}{{ 'hello wORLD-foo it\'s'.title() }}{{ 'hELLO' | capitalize }}{{ 'straße ǆ ﬁ'.upper() }}{{ 'İÀ'.lower() }}
{{ csv.split(',') }}{{ csv.split(',', 1) }}{{ csv.rsplit(',', 1) }}{{ pad.split() }}{{ ' a  b  c '.split(none, 1) }}{{ ' a  b  c '.rsplit(None, 1) }}{{ blank.split(',') }}{{ blank.split() }}
{{ 'a\nb\r\nc\n'.splitlines() }}{{ csv.replace(',', ';') }}{{ csv.replace(',', '', 1) }}{{ 'abc'.replace('', '-') }}{{ csv | replace(',', '--', 2) }}{{ 'aaa'.replace('aa', 'b') }}
{{ s.startswith('Hell') }}{{ s.endswith('👋') }}{{ s.startswith(('a', 'H')) }}{{ s.find('wör') }}{{ s.find('zz') }}{{ csv.count(',') }}{{ csv.rfind(',') }}{{ '-'.join(words) }}{{ 'prefix'.removeprefix('pre') }}{{ 'suffix'.removesuffix('fix') }}
{{ l | length }}{{ s | length }}{{ d | count }}{{ missing | length }}{{ blank | length }}
{{ l | join(', ') }}{{ words | join }}{{ rows | join('-', attribute='r') }}{{ s | join('.') }}{{ missing | join(',') }}|
{{ missing | default('x') }}{{ nil | default('x') }}{{ blank | default('x') }}{{ blank | default('x', true) }}{{ missing | d }}|{{ missing | default(boolean=true, default_value='y') }}
{{ l | first }}{{ l | last }}{{ s | first }}{{ s | last }}{{ [] | first }}|{{ [] | last }}|{{ d | first }}
{{ s | list }}{{ d | list }}{{ 42 | string + '!' }}{{ '42' | int + 1 }}{{ '4.7' | int }}{{ 'x' | int }}{{ 'x' | int(9) }}{{ f | int }}{{ yes | int }}{{ '2.5' | float }}{{ 'x' | float }}{{ 3 | float }}
{{ rows | map(attribute='r') | join(',') }}{{ rows | map(attribute='t.k', default='-') | list }}{{ words | map('upper') | list }}{{ words | map('replace', 'a', 'q') | join }}
{{ rows | selectattr('r', 'equalto', 'x') | list | length }}{{ rows | selectattr('t') | list | length }}{{ rows | rejectattr('v', '>', 1) | map(attribute='r') | list }}{{ nums | select('>', 3) | list }}{{ nums | reject('odd') | list }}{{ l | select | list }}{{ l | select('string') | list }}
{{ words | sort | join }}{{ words | sort(case_sensitive=true) | join }}{{ nums | sort(reverse=true) }}{{ rows | sort(attribute='v') | map(attribute='v') | list }}{{ {'b': 1, 'A': 2} | dictsort }}{{ {'b': 1, 'a': 2} | dictsort(by='value') }}
{{ nums | unique | list }}{{ words | unique | list }}{{ nums | min }}{{ nums | max }}{{ nums | sum }}{{ rows | sum(attribute='v') }}{{ -3 | abs }}{{ neg | abs }}{{ nums | reverse | list }}{{ 'abc' | reverse }}
{{ 'a\nb\n\nc' | indent }}{{ 'a\nb' | indent(2, true) }}{{ 'a\n\nb' | indent(2, blank=true) }}{{ 'a\nb' | indent('> ') }}
{{ n is odd }}{{ n is even }}{{ n is divisibleby 7 }}{{ n is divisibleby(2) }}{{ missing is defined }}{{ missing is undefined }}{{ nil is none }}{{ n is not none }}{{ yes is boolean }}{{ n is boolean }}
{{ yes is true }}{{ 1 is true }}{{ no is false }}{{ n is integer }}{{ yes is integer }}{{ f is float }}{{ n is number }}{{ yes is number }}{{ s is string }}{{ l is string }}{{ d is mapping }}{{ l is mapping }}
{{ l is sequence }}{{ s is sequence }}{{ d is sequence }}{{ n is sequence }}{{ l is iterable }}{{ s is iterable }}{{ n is iterable }}{{ missing is iterable }}{{ nil is iterable }}{{ range is callable }}
{{ n is sameas 7 }}{{ yes is sameas true }}{{ 1 is sameas true }}{{ n is in [7] }}{{ 'a' is in 'abc' }}{{ n is eq 7 }}{{ n is equalto(7) }}{{ n is ne 7 }}{{ n is gt 3 }}{{ n is lessthan 3 }}{{ 'a' is lower }}{{ 'A' is upper }}{{ '1' is lower }}
{{ not n is none }}{{ n is defined and n > 3 }}{{ n is string or n is number }}{{ (n is string) == false }}{{ missing is not defined }}{{ 'x' if n is number else 'y' }}
{{ rows | selectattr('r', 'equalto', 'nope') is defined }}{% if rows | selectattr('r', 'equalto', 'nope') %}truthy{% endif %}{% if rows | selectattr('r', 'equalto', 'nope') | list %}truthy{% endif %}
{{ missing == missing2 }}{{ missing != 1 }}{{ nil == missing }}{{ missing | list }}{{ missing | upper }}|{% for x in missing %}a{% endfor %}{{ missing ~ 'x' }}{{ [missing] }}
{{ dict(a=1, b=2) }}{{ dict({'x': 1}, y=2) }}{{ dict() }}{{ raise_exception is defined }}{{ namespace is defined }}{{ nothing_here is defined }}
{{ n.x }}|{{ nil.x }}|{{ l.x }}|{{ s.x }}|{{ l['x'] }}|{{ nil['x'] }}|
{{ 1 if 0 else none }}{{ [1, 2] == [1, 2] }}{{ {'a': 1} == {'a': 1.0} }}{{ (1, 2) == [1, 2] }}{{ 'a' != 'b' }}{{ 1 != true }}{{ none == none }}{{ [] == () }}
{{ l.index('x') }}{{ l.count(1) }}{{ nums.index(3) }}{{ rows[0]['t']['k'] | upper | lower | length }}{{ (s | length) + 1 }}{{ s | length + 1 }}
{{ 3 * 'ab' }}{{ -2 * 'ab' }}{{ 0.1 + 0.2 }}{{ 1e3 }}{{ 1.5e-5 }}{{ 5 // 2.0 }}{{ 2 ** 62 * 2 }}{{ 9007199254740993 + 0 }}
{%- if yes -%}  tight  {%- endif -%}
{{ n -}}   x   {{- n }}   {{- n -}}   y
{%- set x = 'a' -%} {{- x -}} {%- set y = 'b' -%} {{ y }}
	{% if yes %}tab before{% endif %}	
x  {#- strip -#}  y {# +#}
{% if yes %}a{% else -%}   b{%- endif +%}
{%if yes%}a{%endif%}{{n}}{{'}}'}}{{ '%}' }}{{ {'a': {'b': 1}}['a']['b'] }}
{{ "a" if "x" in "xyz" and not "q" in "xyz" else "b" }}{{ n if n > 5 and n < 10 }}{{ [n, f] | join('/') if yes }}
{{ loop is defined }}{% for i in [1] %}{{ loop is defined }}{% endfor %}
{% for m in rows %}{% if loop.first %}F{% elif loop.last %}L{% else %}M{% endif %}{{ rows[loop.index0 - 1].r if loop.index0 > 0 }}{% endfor %}
{% for m in rows[::-1] %}{% set index = (rows | length - 1) - loop.index0 %}{{ index }}{% endfor %}
{% for x in words | sort %}{{ x }}{% endfor %}{% for x in words[1:] %}{{ x }}{% endfor %}{% for x in (1, 2) %}{{ x }}{% endfor %}{% for x in 1, 2 %}{{ x }}{% endfor %}
{{ '%s' }}{{ 'a|b' }}{{ "{{" }}{{ '{%' }}{{ '#}' }}
{{ s.split(' ')[-1] }}{{ csv.split(',')[0].upper() }}{{ csv.split(',') | last }}{{ (csv ~ ',d').split(',') | length }}
{{ f == 2.5 }}{{ f > n }}{{ n >= 7 }}{{ n <= 6.9 }}{{ big > 1 }}{{ big + 1 }}{{ big * 2 }}{{ -big }}
{{ 'ß' | upper }}{{ 'ΑΒΓ' | lower }}{{ 'éa' | title }}{{ 'ŉ' | capitalize }}{{ 'ǳ'.title() }}{{ 'привет' | upper }}
""".strip("\n").split("\n")

# Several lines in one template; '---' divides them.
BLOCKS = """    {% if yes %}
  body
    {% endif %}
end
---
{% if yes %}  {# c #}
x{% endif %}

after
---
a
  {%- for i in [1, 2] %}
  - {{ i }}
  {%- endfor %}
b
---
a  {%+ if yes %} b {% endif +%}
c
---
  {# lead #}
  x {# mid #}
y
---
{% set a = 1 -%}

   text   {%- set b = 2 %}
tail
---
{% for i in [1] %}
{{ i }}
{% endfor %}
{{ i }}|
---
  {{ n }}
  {% raw %}
  r
  {% endraw %}
 z
---
x{% if yes %}

two newlines{% endif %}
---
{%- if yes %}
    {{- 'x' }}
    {%- if no %}
        {{- 'y' }}
    {%- else %}
        {{- 'z\\n' }}
    {%- endif %}
{%- endif %}
---
{% if yes %}
line
{% endif %}
  {% for i in nums %}
    {{ i }}
  {% endfor %}
end
---
  {% set a = 1 %}  
  {{ a }}
  {#- comment
 over lines -#}
  b

---
a
{%- if yes %}

b
{%+ endif %}
c
---
{% macro m(x) -%}
  <{{ x }}>
{%- endmacro -%}
{{ m(1) }}
  {{ m(2) }}

---
{% raw %}
 {{ a }}
{% endraw %}
 {%- raw %}
x
  {%- endraw %}

y
---
x {{ n }}
{{ n }}

 y
---
  a{% if yes %}
  b
  {% endif %}c
  {% if no %}d{% endif %}
e
""".split("\n---\n")

PIECES = ["{% if yes %}", "{%- if yes %}", "{% if yes -%}", "{%+ if yes %}", "{% if yes +%}"]
SPACES = ["", " ", "\n", "  \n  ", "\n\n\t"]


def main():
    snippets = SNIPPETS + BLOCKS
    for i, begin in enumerate(PIECES):
        for before in SPACES:
            after = SPACES[(i + len(before)) % len(SPACES)]
            snippets.append(f"a{before}{begin}{after}b{after}{{% endif %}}{before}{{{{ n }}}}{before}{{#c#}}{after}d{before}")
            snippets.append(f"{before}{begin}{after}{{%- endif -%}}{after}{{{{- n }}}}{before}{{#- c #}}{before}")
    cases, refused = [], []
    for source in snippets:
        try:
            cases.append([source, _compile_jinja_template(source).render(**VARIABLES)])
        except Exception as error:
            refused.append((source, error))
    OUTPUT.write_text(json.dumps({"variables": VARIABLES, "cases": cases}, indent=0) + "\n")
    print(len(cases), "snippets")
    for source, error in refused:
        print("refused:", source, "->", error)


if __name__ == "__main__":
    main()
