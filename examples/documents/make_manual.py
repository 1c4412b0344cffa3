"""Typeset `coffee_machine_manual.pdf`, the same bytes on every run: `python make_manual.py`.

Needs reportlab. The manual has what makes real PDF files hard to quote from: justified paragraphs
with words hyphenated at line ends, ligatures, curly quotes, a table, a running head and foot.
"""

# ruff: noqa: E501 (running text, with a typesetter's dashes and quotes)

import re
import sys
from pathlib import Path

from reportlab.graphics.shapes import Circle, Drawing, Line, Rect, String
from reportlab.lib.colors import HexColor, white
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import Font, registerFont, registerFontFamily
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)

TITLE = "Tarnwell Barista 3 – Operating Manual"

# "#" heading, "##" smaller heading, "1." step, "-" item, "!" warning, "|" table row, "@" picture.
TEXT = """
Thank you for choosing the Tarnwell Barista 3 (model TB-300). This manual explains how to set up the machine, how to prepare coffee and how to keep the machine in good condition. Please read it before first use, keep it for as long as you own the machine, and pass it on to any later owner. The machine and its maker are “invented for demonstration”; you will not find them in a shop.

# 1 Safety
! Danger of electric shock. Never immerse the machine, the mains cable or the plug in water. Pull the plug before cleaning the housing.
The machine is intended for household use at altitudes of up to 2,200 metres. It may be used by children from the age of eight only under the supervision of an adult. Keep the machine and its cable out of the reach of younger children.
- Fill the water tank with cold, still drinking water only. Never use milk, sparkling water or distilled water.
- The steam wand reaches a temperature of 135 °C. Hold it by the silicone grip only and let it cool for at least three minutes before you wipe it.
- Do not use an extension lead. The socket must be protected by a 10 A or 16 A fuse.
- Leave 15 cm of free space above the machine and 5 cm on each side.
- Do not operate the machine at room temperatures below 5 °C. After transport in the cold, wait four hours before switching it on.

# 2 Parts and controls
@
| No. | Part | Remark
| 1 | Bean hopper | holds 280 g of whole beans
| 2 | Grind dial | 12 settings, 1 is finest
| 3 | Display | shows drinks and error codes
| 4 | Coffee spout | adjustable from 75 to 140 mm
| 5 | Steam wand | with silicone grip
| 6 | Drip tray | a red float shows when it is full
| 7 | Water tank | 1.8 litres, at the back
| 8 | Service door | brew unit and grounds container

# 3 First use
Remove the blue transport lock from the brew unit before you connect the machine. If it is left in place, the display shows E07 and the pump does not start.
1. Rinse the water tank, fill it up to the MAX mark and push it in until it clicks.
2. Insert the water filter “PureFlow 2” if your water is harder than 7 °dH. Soak the filter in cold water for five minutes beforehand.
3. Fill the bean hopper. Do not use caramelised or flavoured beans, because the sugar sticks to the grinder.
4. Press the power button for two seconds. Heating up takes about 40 seconds, and the machine rinses itself with 60 ml of water.
5. Choose your water hardness in the menu under “Settings > Water”. The factory setting is level 3.
6. Discard the first four cups of coffee. The grinder and the brew unit need them to adjust themselves.

# 4 Preparing drinks
Place a cup under the spout, choose a drink with the arrow keys and press Start. Press Start again to stop early. Two cups are prepared at once if you press Start twice within one second; this is not possible for drinks with milk.
| Drink | Coffee | Volume | Range
| Ristretto | 9 g | 25 ml | 15–35 ml
| Espresso | 9 g | 40 ml | 30–60 ml
| Lungo | 10 g | 110 ml | 80–160 ml
| Americano | 11 g | 180 ml | 120–240 ml
| Hot water | – | 200 ml | 50–400 ml
To store your own volume, hold the Start key while the drink is being prepared and release it when the cup is filled as you like. A double beep confirms that the volume has been saved. The factory volumes are restored by holding both arrow keys for eight seconds.
## Grind and strength
Turn the grind dial only while the grinder is running; otherwise the burrs may jam. A finer setting makes the coffee stronger and slower. If an espresso takes less than 18 seconds, choose a finer setting; if it takes more than 32 seconds, choose a coarser one. A change shows its effect only after the second cup.
## Milk foam
Use milk straight from the refrigerator, ideally at 4 to 6 °C, with at least 1.5 % fat. Fill the jug to one third at most. Open the steam valve for two seconds to release condensed water before you put the wand into the milk. Stop at 65 °C, because milk loses its sweetness above that temperature. Afterwards, release steam for another three seconds and wipe the wand with a damp cloth immediately.

# 5 Cleaning and descaling
| Part | How often | How
| Drip tray | every day, or when the float is up | rinse by hand
| Grounds container | after 14 cups | empty and rinse
| Brew unit | once a week | rinse under warm water, no detergent
| Water tank | once a week | dishwasher, 55 °C at most
| Bean hopper | once a month | wipe with a dry cloth
| Water filter | every two months or 50 litres | replace
Apart from the water tank and the drip grid, no part may be put into the dishwasher. After rinsing, let the brew unit dry for 30 minutes and apply a little food-grade grease to the two guide rails every six months.
## Descaling
The display shows “Descale” when 45 litres of water have passed through the machine at hardness level 3. You can prepare another 20 cups; after that the machine locks itself. Descaling takes 25 minutes and cannot be interrupted. Use only liquid descaler based on lactic acid or citric acid. Vinegar destroys the seals, and damage caused by it is not covered by the warranty.
1. Remove the water filter and empty the drip tray.
2. Pour 125 ml of descaler into the tank and add water up to the 0.75 litre mark.
3. Put a bowl of at least one litre under the spout and the steam wand.
4. Choose “Care > Descale” and press Start. The machine pauses twice for four minutes; this is normal.
5. When the display asks for it, rinse the tank, fill it with fresh water up to MAX and press Start.
6. Put the filter back and wipe the housing. Splashes of descaler damage marble and natural stone.

# 6 Error codes
The machine switches off its heater as soon as an error occurs. Correct the cause, then press the power button once. If the same code appears three times within a day, contact the service.
| Code | Meaning | What to do
| E01 | Water tank empty or missing | Fill the tank and push it in until it clicks
| E02 | Grounds container full or missing | Empty it while the machine is switched on, so that the counter is reset
| E03 | Grinder blocked | Switch off, remove the beans with a vacuum cleaner, set the dial to 12, start again
| E04 | Brew unit not in place | Push it in until both clips engage
| E05 | Boiler too hot (above 160 °C) | Pull the plug and wait 45 minutes
| E06 | No water flow | Remove the filter and run 200 ml of hot water
| E07 | Brew unit cannot move | Remove the transport lock; grease the guide rails
| E08 | Temperature sensor fault | Do not open the machine; contact the service
| E11 | Service door open | Close the door
## Faults without a code
Coffee that runs in drops only is usually ground too finely. Coffee that is not hot enough often comes from a cold cup: rinse it with hot water first, or set the coffee temperature in the menu to “high” (94 °C instead of 90 °C). Water under the machine comes from an overfull drip tray in most cases. If the grinder sounds louder than usual, a small stone may be among the beans: switch off at once.

# 7 Technical data
| Item | Value
| Voltage, frequency | 220–240 V, 50–60 Hz
| Power | 1,450 W
| Standby consumption | 0.4 W
| Pump pressure | 15 bar
| Dimensions (width, height, depth) | 238 by 352 by 431 mm
| Weight | 9.6 kg, empty
| Cable length | 1.1 m
| Noise while grinding | 68 dB(A)
The machine switches itself off after 30 minutes without use. The time can be set to between 10 minutes and 3 hours.

# 8 Warranty and disposal
Tarnwell grants a warranty of 30 months from the date of purchase, or of 7,500 cups, whichever comes first. The number of cups prepared is shown in the menu under “Info”. Wearing parts, namely seals, filters and grinding burrs, are excluded, as are damage from limescale and commercial use. If you register the machine within 60 days of purchase, the warranty is extended to 42 months.
Spare parts are available for ten years after the model has been discontinued. For service, have the serial number ready: it is printed on the inside of the service door and begins with “TB3”. The service is reached on weekdays from 8:00 to 18:00 at +44 1632 960 240.
Do not dispose of the machine with household waste. Take it to a collection point for electrical equipment; delete your stored volumes and the Wi-Fi access beforehand with “Settings > Factory reset”.
"""

# Where a compositor would break these words; reportlab does so only if the line needs it.
BREAKABLE = """
be-fore-hand caramel-ised chil-dren clean-ing con-densed con-di-tion con-sump-tion con-tact
de-scal-ing demon-stra-tion ex-cluded ex-plains ex-ten-sion fac-tory fla-voured grind-ing house-hold
im-me-di-ately in-ter-rupted ma-chine min-utes pos-si-ble re-frig-er-ator reg-is-ter sec-onds
set-ting spark-ling super-vi-sion tem-per-ature trans-port war-ranty with-in
"""

INK, ACCENT, PALE = HexColor("#22262b"), HexColor("#8a3b12"), HexColor("#f4ece4")
MARGIN = 16 * mm
WIDTH = A5[0] - 2 * MARGIN


def register_fonts() -> None:
    """Register Times and Helvetica with an encoding that has the fi and fl ligatures.

    They belong to the fonts every viewer has, so nothing is embedded, and nothing is compressed:
    the file does not depend on the version of a font or of zlib.
    """
    for alias, name in {
        "Body": "Times-Roman",
        "Body-Bold": "Times-Bold",
        "Head": "Helvetica-Bold",
        "Label": "Helvetica",
    }.items():
        registerFont(Font(alias, name, "MacRomanEncoding"))
    registerFontFamily("Body", "Body", "Body-Bold", "Body", "Body-Bold")
    registerFontFamily("Head", "Head", "Head", "Head", "Head")


def style(name: str, **changes: object) -> ParagraphStyle:
    """Make a paragraph style that differs from the body text by `changes`."""
    base = {"fontName": "Body", "fontSize": 10, "leading": 12.8, "textColor": INK}
    return ParagraphStyle(name, **(base | changes))


BODY = style("body", alignment=TA_JUSTIFY, spaceAfter=5, embeddedHyphenation=1)
ITEM = style("item", alignment=TA_JUSTIFY, spaceAfter=3, leftIndent=13, embeddedHyphenation=1)
ITEM.bulletIndent, ITEM.bulletFontName, ITEM.bulletFontSize = 1, "Body", 10
CELL = style("cell", fontSize=8.8, leading=10.6)
COLUMN = style("column", fontName="Head", fontSize=8, leading=10, textColor=white)
WARNING = style("warning", alignment=TA_JUSTIFY, embeddedHyphenation=1)
HEADING = style("heading", fontName="Head", fontSize=13, leading=16, textColor=ACCENT)
HEADING.spaceBefore, HEADING.spaceAfter, HEADING.keepWithNext = 10, 5, 1
SUBHEADING = style("subheading", fontName="Head", fontSize=10, leading=13)
SUBHEADING.spaceBefore, SUBHEADING.spaceAfter, SUBHEADING.keepWithNext = 5, 3, 1


def typeset(text: str) -> str:
    """Set ligatures and the places where words may be broken, and escape the markup."""
    for word in BREAKABLE.split():
        text = re.sub(rf"\b{word.replace('-', '')}\b", word.replace("-", "\u00ad"), text)
    text = text.replace("'", "’").replace("fi", "ﬁ").replace("fl", "ﬂ")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def plain(text: str) -> str:
    """Set ligatures only: headings and table cells are not hyphenated."""
    return typeset(text).replace("\u00ad", "")


def table(rows: list[list[str]]) -> Table:
    """Lay out a table whose first row is its head."""
    head, *body = rows
    cells = [[Paragraph(plain(cell), COLUMN) for cell in head]]
    cells += [[Paragraph(plain(cell), CELL) for cell in row] for row in body]
    shares = {"Code": (0.11, 0.36, 0.53), "No.": (0.11, 0.36, 0.53), "Item": (0.4, 0.6)}
    even = (0.3, *[0.7 / (len(head) - 1)] * (len(head) - 1))
    widths = [share * WIDTH for share in shares.get(head[0], even)]
    look = [
        ("BACKGROUND", (0, 0), (-1, 0), ACCENT),
        ("ROWBACKGROUNDS", (0, 1), (-1, -1), [white, PALE]),
        ("LINEBELOW", (0, -1), (-1, -1), 0.6, ACCENT),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
        ("LEFTPADDING", (0, 0), (-1, -1), 4),
    ]
    return Table(cells, widths, style=look, repeatRows=1, spaceBefore=4, spaceAfter=8)


def warning(text: str) -> Table:
    """Put a warning into a box."""
    look = [
        ("BOX", (0, 0), (-1, -1), 0.8, ACCENT),
        ("BACKGROUND", (0, 0), (-1, -1), PALE),
        ("TOPPADDING", (0, 0), (-1, -1), 4),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
    ]
    box = [[Paragraph(f"<b>Warning.</b> {typeset(text)}", WARNING)]]
    return Table(box, [WIDTH], style=look, spaceBefore=2, spaceAfter=7)


def picture() -> Drawing:
    """Draw the machine from the front, with the numbers of the parts list."""
    drawing = Drawing(WIDTH, 118)
    left = WIDTH / 2 - 50
    look = {"fillColor": PALE, "strokeColor": INK, "strokeWidth": 0.9}
    for x, y, width, height, radius in (
        (0, 0, 100, 92, 6),  # housing
        (8, 0, 84, 12, 2),  # drip tray
        (34, 70, 32, 14, 2),  # display
        (40, 42, 20, 14, 3),  # spout
        (12, 92, 46, 18, 3),  # bean hopper
        (66, 92, 24, 8, 3),  # grind dial
        (102, 10, 14, 66, 3),  # water tank, seen behind the housing
        (86, 24, 4, 36, 2),  # steam wand
        (6, 18, 18, 46, 2),  # service door
    ):
        drawing.add(Rect(left + x, y, width, height, rx=radius, ry=radius, **look))
    left_label, right_label = -34, 134
    for number, (x, y, label) in enumerate(
        (
            (20, 104, left_label),
            (78, 97, right_label),
            (36, 78, left_label),
            (58, 48, right_label),
            (88, 30, right_label),
            (12, 6, left_label),
            (112, 68, right_label),
            (10, 42, left_label),
        ),
        1,
    ):
        end = left + label
        drawing.add(Line(left + x, y, end, y, strokeColor=ACCENT, strokeWidth=0.6))
        drawing.add(Circle(end, y, 7, fillColor=white, strokeColor=ACCENT))
        text = {"fontName": "Label", "fontSize": 8, "fillColor": INK, "textAnchor": "middle"}
        drawing.add(String(end, y - 2.8, str(number), **text))
    return drawing


def story() -> list[Flowable]:
    """Turn the marked-up text into what reportlab lays out."""
    flowables: list[Flowable] = [Spacer(1, 34 * mm)]  # below the title on the first page
    rows: list[list[str]] = []
    for line in [*TEXT.strip().splitlines(), ""]:
        mark, _, rest = line.partition(" ")
        if mark == "|":
            rows.append([cell.strip() for cell in rest.split("|")])
            continue
        if rows:
            flowables.append(table(rows))
            rows = []
        if line:
            flowables.append(block(mark, rest, line))
    return flowables


def block(mark: str, rest: str, line: str) -> Flowable:
    """Lay out one line of the marked-up text."""
    if mark == "@":
        return picture()
    if mark == "!":
        return warning(rest)
    if mark in ("#", "##"):
        return Paragraph(plain(rest), HEADING if mark == "#" else SUBHEADING)
    if mark == "-":
        return Paragraph(typeset(rest), ITEM, bulletText="•")
    if mark[0].isdigit():
        return Paragraph(typeset(rest), ITEM, bulletText=mark)
    return Paragraph(typeset(line), BODY)


def first_page(canvas: Canvas, document: BaseDocTemplate) -> None:
    """Draw the title."""
    top = A5[1]
    canvas.setFillColor(ACCENT)
    canvas.rect(0, top - 48 * mm, A5[0], 48 * mm, stroke=0, fill=1)
    canvas.setFillColor(white)
    canvas.setFont("Head", 25)
    canvas.drawString(MARGIN, top - 25 * mm, "Tarnwell Barista 3")
    canvas.setFont("Label", 12)
    canvas.drawString(MARGIN, top - 34 * mm, "Operating Manual · Model TB-300 · Issue 4, May 2026")
    foot(canvas, document)


def later_page(canvas: Canvas, document: BaseDocTemplate) -> None:
    """Draw the running head."""
    canvas.setFillColor(INK)
    canvas.setFont("Label", 7.5)
    canvas.drawString(MARGIN, A5[1] - 10 * mm, "Tarnwell Barista 3 · Operating Manual")
    canvas.setStrokeColor(ACCENT)
    canvas.line(MARGIN, A5[1] - 12 * mm, A5[0] - MARGIN, A5[1] - 12 * mm)
    foot(canvas, document)


def foot(canvas: Canvas, document: BaseDocTemplate) -> None:
    """Draw the page number."""
    canvas.setFillColor(INK)
    canvas.setFont("Label", 7.5)
    canvas.drawCentredString(A5[0] / 2, 9 * mm, str(document.page))


def build(path: Path) -> None:
    """Write the manual to `path`."""
    register_fonts()
    document = BaseDocTemplate(
        str(path),
        pagesize=A5,
        invariant=1,
        pageCompression=0,
        title=TITLE,
        author="Tarnwell (an invented company)",
        subject="Coffee machine TB-300",
        lang="en-GB",
    )
    frame = Frame(
        MARGIN, 14 * mm, WIDTH, A5[1] - 29 * mm, leftPadding=0, rightPadding=0, bottomPadding=0
    )
    document.addPageTemplates(
        [
            PageTemplate("first", [frame], onPage=first_page, autoNextPageTemplate="later"),
            PageTemplate("later", [frame], onPage=later_page),
        ]
    )
    document.build(story())


if __name__ == "__main__":
    default = Path(__file__).with_name("coffee_machine_manual.pdf")
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
