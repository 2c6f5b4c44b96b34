#!/usr/bin/env python3
"""Makes tests/golden/chat_templates.json: templates of our own that use what chat templates use, with the text that jinja2
gives as transformers sets it up, or null where it raises.

    pip install transformers jinja2 && python3 tests/golden/make_chat_golden.py
"""

import datetime
import json
import pathlib

from transformers.utils import chat_template_utils

NOW = datetime.datetime(2026, 7, 4, 9, 5, 3)
MESSAGES = [{"role": "system", "content": " Be kind.\n"}, {"role": "user", "content": "Grüße, 世界 🌍"},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "a1", "function": {"name": "add", "arguments": {"x": 1, "y": 2.5, "deep": [True, None, "\"q\"\n"]}}}]},
            {"role": "tool", "content": "3.5", "tool_call_id": "a1"}, {"role": "assistant", "content": "It is 3.5"},
            {"role": "user", "content": ""}]
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds <two> & more", "parameters": {
    "type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number", "enum": [1, 2]}}}}}]

TEMPLATES = {
    "chatml": "{%- for m in messages %}\n{{- '<|im_start|>' + m['role'] + '\\n' + (m.content or '') | trim + '<|im_end|>' + '\\n' }}\n"
              "{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n",
    "layout": "a\n  {% if true %}\n  b {{ 1 }}\n  {% endif %}\nc {%- if true -%}  d  {%+ endif +%}\n  {# gone #}\n e {#- too -#}  \n f\n"
              "  {%+ if true %}g{% endif %}\n{% raw %}\n {{ raw }} {% if %}\n{% endraw %}\nend\n\n",
    "scopes": "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + i %}{{ x }},{% endfor %}{{ x }}{% set ns = namespace(n=0) %}"
              "{% for m in messages if m.content %}{% set ns.n = ns.n + loop.index %}{% endfor %}{{ ns.n }}"
              "{% with a = 1, b = x %}{{ a + b }}{% endwith %}{{ a is defined }}{% set a, b = (1, 'two') %}{{ b ~ a }}"
              "{% set t %} block {{ x }}{% endset %}[{{ t | trim }}]{% set u | upper %}up{% endset %}{{ u }}",
    "loops": "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ ':' if loop.first else ';' if not loop.last else '.' }}"
             "{{ loop.previtem.role if not loop.first else '-' }}>{{ loop.nextitem.role | default('none') }}{{ loop.cycle('a', 'b') }}"
             "{{ loop.changed(m.role) }} {% if loop.index0 == 4 %}{% break %}{% elif loop.revindex == 5 %}{% continue %}{% endif %}+"
             "{% else %}none{% endfor %}{% for k, v in tools[0].function | items %}{{ k }}={{ v is string }} {% endfor %}"
             "{% for x in [] %}{% else %}empty{% endfor %}",
    "macros": "{% macro show(value, depth=0, *, x) %}{% endmacro %}",
    "recursion": "{% macro show(v, depth=0) -%}{% if v is mapping %}{ {%- for k, w in v.items() %}{{ k }}:{{ show(w, depth + 1) }};"
                 "{% endfor %} }{% elif v is iterable and v is not string %}<{{ v | length }}@{{ depth }}>{% else %}{{ v }}{% endif %}"
                 "{%- endmacro %}{{ show(tools[0]) }}{% macro wrap(a, b='d') %}({{ a }}{{ b }}{{ caller() }}){% endmacro %}"
                 "{% call wrap(1) %}inner{% endcall %}{% filter upper %}text{% endfilter %}",
    "json": "{{ tools | tojson }}\n{{ tools | tojson(indent=2) }}\n{{ messages[2].tool_calls[0].function.arguments | tojson(sort_keys=true, "
            "separators=(',', ':')) }}{{ 'ü\\u0001/' | tojson(ensure_ascii=true) }}{{ [1.0, 1e20, 1e-7, 0.1, -0.0, 123456789012345678] | tojson }}",
    "printed": "{{ messages[2] }} {{ [1, 'a', \"it's\", none, 2.0, (1,), ()] }} {{ {'a': true, 1: 'ü\\n\\x00\\u200b'} }} {{ none }} {{ 1e16 }} {{ x }}",
    "filters": "{{ messages | map(attribute='role') | unique | list }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
               "{{ (messages | rejectattr('content') | first).role }}{{ [3, 1, 2] | sort(reverse=true) | join('-') }}{{ 'a b-c' | title }}"
               "{{ 'x' | default('d') }}{{ '' | default('d', true) }}{{ y | default('u') }}{{ '3.9' | int }}{{ 'z' | int(7) }}{{ 2.5 | round }}"
               "{{ 2.675 | round(2) }}{{ 7.1 | round(0, 'ceil') }}{{ [1, 2] | sum }}{{ ['b', 'A'] | min }}{{ 'abc' | last }}{{ 'abc' | reverse }}"
               "{{ {'b': 1, 'A': 2} | dictsort }}{{ 'a\\nb\\n\\nc' | indent(2) }}{{ -3 | abs }}{{ 'aXbX' | replace('X', '.', 1) }}{{ '%s-%d' | format('a', 3) }}"
               "{{ [1, 2, 3] | select('odd') | list }}{{ ['a', 'b'] | map('upper') | join }}{{ 5 | string + '!' }}{{ 'ab' | list }}",
    "methods": "{{ ' a b '.strip() }}|{{ 'xxaxx'.lstrip('x') }}|{{ 'a,b,,c'.split(',') }}|{{ ' a  b '.split() }}|{{ 'a b c'.rsplit(' ', 1) }}|"
               "{{ 'abc'.startswith(('x', 'a')) }}{{ 'abc'.endswith('bc', 1) }}|{{ 'hELLO wORLD'.title() }}{{ 'ab'.capitalize() }}{{ 'éa'.upper() }}|"
               "{{ 'a-b'.replace('-', '+') }}{{ 'aéb'.find('b') }}{{ 'aaa'.count('a') }}{{ ', '.join(['x', 'y']) }}{{ 'a\\nb'.splitlines() }}|"
               "{{ tools[0].get('none', 'no') }}{{ tools[0].function.keys() | list }}{{ {'items': 1}['items'] }}{{ {'get': 1}.values() | list }}"
               "{{ '{} {}'.format(1, 'b') }}{{ 'prefix-x'.removeprefix('prefix-') }}",
    "operators": "{{ 7 // 2 }}{{ -7 // 2 }}{{ -7 % 3 }}{{ 7 / 2 }}{{ 2 ** 10 }}{{ 1 < 2 <= 2 != 3 }}{{ 'a' in 'cat' and 'x' not in ['y'] }}"
                 "{{ not 0 or 'never' }}{{ '' or 'right' }}{{ [1] + [2] }}{{ 'ab' * 2 }}{{ 1 ~ none ~ 'x' }}{{ 'abcdef'[1:-1:2] }}{{ 'äöü'[::-1] }}"
                 "{{ [1, 2, 3][-2:] }}{{ 'é世'[1] }}{{ (1, 2) == (1, 2) }}{{ [1] == (1,) }}{{ 1 == 1.0 == true }}{{ 'a' if false }}{{ -2.5 + 1 }}"
                 "{{ 1 if x is defined else 2 }}{{ 3 is odd and 4 is divisibleby 2 }}{{ none is none }}{{ 'b' > 'a' }}{{ range(2, 8, 3) | list }}",
    "markup": "{{ ('<b>' | safe) + '<i>' }}{{ ('<b>' | safe) ~ '<i>' }}{{ ('<b>' | safe | trim).upper() + \"'\" }}{{ 'a' + ('&' | safe) }}",
    "time": "{{ strftime_now('%d %B %Y, %H:%M') }}",
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}é{% endgeneration %}{% else %}"
                  "{{ m.content }}{% endif %}|{% endfor %}",
    "refusal": "{% if messages[0].role == 'system' %}{{ raise_exception('No system message, please: ' ~ messages[0].content) }}{% endif %}",
    "undefined": "{{ messages[0].nothing.more }}",
    "types": "{{ 'a' + 1 }}",
}


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def main():
    chat_template_utils.datetime = FixedTime
    cases = []
    for name, template in TEMPLATES.items():
        variables = {"messages": MESSAGES, "tools": TOOLS, "documents": None, "add_generation_prompt": True, "bos_token": "<s>"}
        case = {"name": name, "template": template, "variables": variables, "text": None, "generations": []}
        try:
            text, spans = chat_template_utils._render_with_assistant_indices(chat_template_utils._compile_jinja_template(template), MESSAGES,
                                                                             TOOLS, None, True, bos_token="<s>")
            case["text"] = text
            case["generations"] = [[len(text[:begin].encode()), len(text[:end].encode())] for begin, end in spans]
        except Exception as error:
            print(f"{name}: {error}")
        cases.append(case)
    path = pathlib.Path(__file__).parent / "chat_templates.json"
    path.write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
