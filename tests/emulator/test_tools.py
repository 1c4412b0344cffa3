"""The extractive brain calls tools and fills in forms."""

import json

from ai21_chains.emulator import extractive
from tests.cases import each

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
LIMITED = {"type": "integer", "exclusiveMinimum": -1000, "exclusiveMaximum": 1000}


def tool(name, properties, description="", required=None):
    parameters = {"type": "object", "properties": properties}
    parameters["required"] = list(properties) if required is None else required
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


MAGIC = tool("magic_function", {"input": LIMITED}, "Apply a magic function to an input.")
MAGIC_NO_ARGS = tool("magic_function_no_args", {}, "Calculate a magic function.")
WEATHER = tool("get_weather", {"location": TEXT}, "Get weather at a location.")
CUSTOMER = tool(
    "unicode_customer",
    {"customer_name": TEXT, "description": TEXT},
    "Tool for creating a customer with Unicode name.",
)
GREETING = tool(
    "greeting_generator",
    {"answer_style": TEXT},
    "Generate a greeting in a particular style of speaking.",
)
JOKE = tool("Joke", {"setup": TEXT, "punchline": TEXT}, "Joke to tell user.")
OPTIONAL_JOKE = tool(
    "Joke",
    {"setup": TEXT, "punchline": {"anyOf": [TEXT, {"type": "null"}], "default": None}},
    "Joke to tell user.",
    required=["setup"],
)


def ask(text, tools=(), system=None, history=(), **fields):
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "user", "content": text}, *history]
    return extractive({"model": "jamba-mini", "messages": messages, "tools": list(tools), **fields})


def call(text, tools, **fields):
    (made,) = ask(text, tools, **fields).tool_calls
    return made.name, dict(made.arguments)


@each(
    ("text", "offered", "expected"),
    [
        ("What is the value of magic_function(3)? Use the tool.", MAGIC, {"input": 3}),
        ("What is the value of magic_function_no_args()? Use the tool.", MAGIC_NO_ARGS, {}),
        (
            "What is the weather in San Francisco, CA?",
            WEATHER,
            {"location": "San Francisco, CA"},
        ),
    ],
)
@each("choice", [None, "any", "required"])
def test_the_prompts_of_langchains_standard_suite_get_their_call(text, offered, expected, choice):
    _, arguments = call(text, [offered], tool_choice=choice)

    assert arguments == expected


@each(
    ("text", "name"),
    [
        (
            "Create a customer named '你好啊集团' (Hello Group) - a Chinese technology company",
            "你好啊集团",
        ),
        (
            "Create a customer named 'こんにちは株式会社' (Hello Corporation) - a Japanese company",
            "こんにちは株式会社",
        ),
    ],
)
def test_a_quoted_name_is_taken_as_it_is(text, name):
    _, arguments = call(text, [CUSTOMER], tool_choice="any")

    assert arguments["customer_name"] == name
    assert arguments["description"]


def test_a_style_without_a_hint_is_taken_from_the_text():
    _, arguments = call("Using the tool, generate a Pirate greeting.", [GREETING])

    assert "Pirate" in arguments["answer_style"]


def test_a_joke_has_both_parts():
    _, arguments = call("Tell me a joke about cats.", [JOKE], tool_choice="any")

    assert arguments == {"setup": "Setup: cats", "punchline": "Punchline: cats"}


@each(
    ("text", "keys"),
    [
        ("Give me the setup to a joke about cats, no punchline.", {"setup"}),
        ("Give me a joke about cats, include the punchline.", {"setup", "punchline"}),
        ("Tell me a joke about cats.", {"setup"}),
    ],
)
def test_an_optional_field_is_filled_only_when_it_is_asked_for(text, keys):
    _, arguments = call(text, [OPTIONAL_JOKE], tool_choice="any")

    assert arguments.keys() == keys


def test_no_tool_is_called_when_the_text_asks_for_none():
    assert not ask("Hello!", [MAGIC, WEATHER]).tool_calls


def test_no_tool_is_called_when_the_choice_forbids_it():
    assert not ask("What is the weather in Rome?", [WEATHER], tool_choice="none").tool_calls


@each(
    "choice",
    ["magic_function", {"type": "function", "function": {"name": "magic_function"}}],
)
def test_a_named_tool_is_called_whatever_the_text_says(choice):
    name, arguments = call("What is the weather in Rome?", [WEATHER, MAGIC], tool_choice=choice)

    assert name == "magic_function"
    assert -1000 < arguments["input"] < 1000


@each("fields", [{"tool_choice": "any"}, {"system": "You must call exactly one of the tools."}])
def test_an_order_to_call_is_followed(fields):
    name, _ = call("Hello!", [MAGIC, WEATHER], **fields)

    assert name in {"magic_function", "get_weather"}


@each(
    ("text", "name"),
    [
        ("Will it rain? I need the weather of Rome.", "get_weather"),
        ("Please apply some magic to 4", "magic_function"),
        ("I want a greeting", "greeting_generator"),
    ],
)
def test_the_tool_whose_words_the_text_has_is_called(text, name):
    assert call(text, [MAGIC, WEATHER, GREETING])[0] == name


def result(content, name="get_weather"):
    function = {"name": name, "arguments": "{}"}
    return [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": function}]},
        {"role": "tool", "tool_call_id": "1", "content": content},
    ]


def test_a_tool_result_is_repeated_in_a_sentence():
    reply = ask("What is the weather in Rome?", [WEATHER], history=result("It is\nsunny"))

    assert reply.content == "The tool's answer is: It is sunny"
    assert not reply.tool_calls


def test_several_tool_results_are_all_repeated():
    history = [*result("sunny"), {"role": "tool", "tool_call_id": "2", "content": "windy"}]

    assert ask("Weather?", history=history).content == "The tool's answer is: sunny windy"


def test_an_agent_that_must_call_goes_on_with_the_tool_not_called_yet():
    report = tool("Report", {"summary": TEXT})
    fields = {"tool_choice": "any", "history": result("It is sunny")}
    name, arguments = call("What is the weather in Rome?", [WEATHER, report], **fields)

    assert name == "Report"
    assert arguments["summary"]
    assert not ask("What is the weather in Rome?", [WEATHER], **fields).tool_calls


FLIGHT = tool(
    "book_flight",
    {
        "origin": TEXT,
        "destination": TEXT,
        "date": {"type": "string", "format": "date"},
        "passengers": NUMBER,
        "cabin": {"enum": ["economy", "business"]},
        "refundable": {"type": "boolean"},
    },
)


def test_each_field_finds_its_own_words():
    text = "Book a business flight from Paris to Rome on 2026-05-01, 2 passengers, not refundable"
    _, arguments = call(text, [FLIGHT])

    assert arguments == {
        "origin": "Paris",
        "destination": "Rome",
        "date": "2026-05-01",
        "passengers": 2,
        "cabin": "business",
        "refundable": False,
    }


@each(
    ("schema", "text", "value"),
    [
        (NUMBER, "Take 3 and 4", 3),
        (NUMBER, "Take 1,000 of them", 1000),
        ({"type": "number"}, "It costs 2.50 now", 2.5),
        ({"type": "integer", "minimum": 10}, "Take 3 or 40", 40),
        ({"type": "integer", "minimum": 10}, "Take none", 10),
        ({"type": "integer", "maximum": -5}, "Take none", -5),
        ({"type": "integer", "default": 7}, "Take none", 7),
        ({"type": "number", "exclusiveMinimum": 3}, "Take none", 3.5),
        ({"type": "boolean"}, "With field please", True),
        ({"type": "boolean", "default": False}, "Nothing", False),
        ({"enum": ["red_wine", "beer"]}, "A red wine please", "red_wine"),
        ({"enum": ["a1", "b1"]}, "Neither", "a1"),
        ({"const": "fixed"}, "Anything", "fixed"),
        ({"type": "null"}, "Anything", None),
        ({"type": "array", "items": NUMBER}, "Add 1, 2 and 3", [1, 2, 3]),
        ({"type": "array", "items": TEXT}, "Tag it 'a' and 'b'", ["a", "b"]),
        ({"type": "array", "items": TEXT}, "Tags: red, green and blue.", ["red", "green", "blue"]),
        ({"type": "array", "items": {"enum": ["x", "y", "z"]}}, "z and x", ["x", "z"]),
        ({"type": "array", "items": NUMBER, "minItems": 2}, "Just 1", [1, 1]),
        ({"type": "array", "items": NUMBER, "maxItems": 1}, "1 and 2", [1]),
        ({"type": ["string", "null"]}, "Say 'hi'", "hi"),
        ({"type": "string", "maxLength": 2}, "Say 'hello'", "he"),
        ({"type": "string", "format": "email"}, "Write to a.b@example.com now", "a.b@example.com"),
        ({"type": "string", "format": "uri"}, "See https://x.org/a?b=1 now", "https://x.org/a?b=1"),
        (TEXT, "Set field: blue", "blue"),
        ({"anyOf": [{"type": "null"}, NUMBER]}, "Take 5", 5),
        ({"$ref": "#/$defs/Missing"}, "Say 'hi'", "hi"),
    ],
)
def test_a_field_is_filled_by_its_schema(schema, text, value):
    _, arguments = call(text, [tool("f", {"field": schema})], tool_choice="any")

    assert arguments == {"field": value}
    assert type(arguments["field"]) is type(value)


def test_definitions_are_followed_into_nested_objects():
    schema = {
        "$defs": {
            "Person": {
                "type": "object",
                "properties": {"name": TEXT, "age": NUMBER},
                "required": ["name", "age"],
            }
        },
        "type": "object",
        "properties": {
            "owner": {"$ref": "#/$defs/Person"},
            "others": {"type": "array", "items": {"$ref": "#/$defs/Person"}},
        },
        "required": ["owner", "others"],
    }
    offered = {"function": {"name": "register", "parameters": schema}}
    _, arguments = call("Register someone named 'Ada', 36 years old", [offered])

    assert arguments["owner"] == {"name": "Ada", "age": 36}
    assert arguments["others"][0].keys() == {"name", "age"}


def test_a_schema_that_contains_itself_ends_somewhere():
    node = {
        "type": "object",
        "properties": {"child": {"$ref": "#/$defs/Node"}},
        "required": ["child"],
    }
    parameters = {"$defs": {"Node": node}, **node}
    offered = {"function": {"name": "grow", "parameters": parameters}}

    assert call("grow", [offered])[0] == "grow"


def test_a_tool_without_parameters_is_called_with_an_empty_object():
    assert call("ping", [{"function": {"name": "ping"}}]) == ("ping", {})


JSON = {"response_format": {"type": "json_object"}}


def test_json_mode_takes_its_keys_from_the_quoted_words():
    text = (
        "Tell me a joke about cats. Return the result as a JSON with 'setup' and 'punchline' keys."
        " Return nothing other than JSON."
    )
    answer = json.loads(ask(text, **JSON).content)

    assert answer == {"setup": "Setup: cats", "punchline": "Punchline: cats"}


def test_json_mode_without_any_key_has_one_of_its_own():
    assert json.loads(ask("Tell me about cats", **JSON).content) == {"answer": "Answer: cats"}


def test_json_mode_fills_a_schema_written_in_the_instructions():
    schema = {
        "properties": {"city": TEXT, "days": NUMBER, "note": TEXT},
        "required": ["city", "days"],
    }
    system = f"Answer with JSON of this schema: {json.dumps(schema)} and nothing else {{"
    answer = json.loads(ask("A trip of 3 days to Kraków in Poland", system=system, **JSON).content)

    assert answer == {"city": "Poland", "days": 3}
