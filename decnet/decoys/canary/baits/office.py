"""Documents whose program fetches a picture from outside when it shows them: DOCX, XLSX; and PDF with an address to open.

Made with the standard library; the same slug gives the same bytes, since no time is written into them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import quoteattr

from decnet.decoys.canary.baits.derived import word

_TYPES: Final = "http://schemas.openxmlformats.org/package/2006/content-types"
_RELS: Final = "http://schemas.openxmlformats.org/package/2006/relationships"
_KIND: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_DRAWING_NS: Final = f'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" xmlns:r="{_KIND}"'
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_FIRST_DAY: Final = (1980, 1, 1, 0, 0, 0)


def _packed(parts: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            info = zipfile.ZipInfo(name, _FIRST_DAY)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, _HEAD + text)
    return out.getvalue()


def _types(main: str, kind: str, *others: tuple[str, str]) -> str:
    overrides = "".join(
        f'<Override PartName="{name}" ContentType="{what}"/>' for name, what in ((main, kind), *others)
    )
    return (
        f'<Types xmlns="{_TYPES}"><Default Extension="rels"'
        ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>'
    )


def _rels(*rows: tuple[str, str, str, bool]) -> str:
    """Rows of id, kind, target, and whether it lies outside."""
    found = "".join(
        f'<Relationship Id="{ident}" Type="{_KIND}/{kind}" Target={quoteattr(target)}'
        f"{' TargetMode=' + quoteattr('External') if outside else ''}/>"
        for ident, kind, target, outside in rows
    )
    return f'<Relationships xmlns="{_RELS}">{found}</Relationships>'


def _picture(prefix: str, namespaces: str) -> str:
    """One picture that is linked, not embedded, one pixel of 9525 units wide."""
    return (
        f'<{prefix}:pic {namespaces}><{prefix}:nvPicPr><{prefix}:cNvPr id="2" name="logo"/><{prefix}:cNvPicPr/>'
        f'</{prefix}:nvPicPr><{prefix}:blipFill><a:blip r:link="rId9"/><a:stretch><a:fillRect/></a:stretch>'
        f'</{prefix}:blipFill><{prefix}:spPr><a:xfrm><a:off x="0" y="0"/><a:ext cx="9525" cy="9525"/></a:xfrm>'
        f'<a:prstGeom prst="rect"><a:avLst/></a:prstGeom></{prefix}:spPr></{prefix}:pic>'
    )


def docx(url: str, slug: str) -> bytes:
    """A Word document; its program loads the picture when it is opened."""
    picture_ns = 'xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture"'
    word_ns = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    place = "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing"
    lines = ("VPN access for contractors", "User: ext-support", f"Password: {word(slug, 'docx', 14)}")
    text = "".join(f"<w:p><w:r><w:t>{line}</w:t></w:r></w:p>" for line in lines)
    inline = (
        f'<w:p><w:r><w:drawing><wp:inline xmlns:wp="{place}"><wp:extent cx="9525" cy="9525"/>'
        '<wp:docPr id="1" name="logo"/><a:graphic><a:graphicData'
        f' uri="http://schemas.openxmlformats.org/drawingml/2006/picture">{_picture("pic", picture_ns)}'
        "</a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>"
    )
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    return _packed({
        "[Content_Types].xml": _types("/word/document.xml", kind),
        "_rels/.rels": _rels(("rId1", "officeDocument", "word/document.xml", False)),
        "word/document.xml": f'<w:document xmlns:w="{word_ns}" {_DRAWING_NS}><w:body>{text}{inline}</w:body></w:document>',
        "word/_rels/document.xml.rels": _rels(("rId9", "image", f"{url}/logo.png", True)),
    })  # fmt: skip


def xlsx(url: str, slug: str) -> bytes:
    """An Excel workbook; its program loads the picture when the sheet is shown."""
    sheet_ns = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    place_ns = "http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing"
    rows = (("system", "user", "password"), ("erp", "admin", word(slug, "xlsx-one", 14)),
            ("backup", "svc-backup", word(slug, "xlsx-two", 14)))  # fmt: skip
    cells = "".join(
        "<row>" + "".join(f'<c t="inlineStr"><is><t>{text}</t></is></c>' for text in row) + "</row>"
        for row in rows
    )
    anchor = (
        "<xdr:oneCellAnchor><xdr:from><xdr:col>5</xdr:col><xdr:colOff>0</xdr:colOff><xdr:row>0</xdr:row>"
        f'<xdr:rowOff>0</xdr:rowOff></xdr:from><xdr:ext cx="9525" cy="9525"/>{_picture("xdr", "")}'
        "<xdr:clientData/></xdr:oneCellAnchor>"
    )
    kinds = "application/vnd.openxmlformats-officedocument"
    return _packed({
        "[Content_Types].xml": _types(
            "/xl/workbook.xml", f"{kinds}.spreadsheetml.sheet.main+xml",
            ("/xl/worksheets/sheet1.xml", f"{kinds}.spreadsheetml.worksheet+xml"),
            ("/xl/drawings/drawing1.xml", f"{kinds}.drawing+xml"),
        ),
        "_rels/.rels": _rels(("rId1", "officeDocument", "xl/workbook.xml", False)),
        "xl/workbook.xml": f'<workbook xmlns="{sheet_ns}" xmlns:r="{_KIND}"><sheets>'
                           '<sheet name="access" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _rels(("rId1", "worksheet", "worksheets/sheet1.xml", False)),
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{sheet_ns}" xmlns:r="{_KIND}"><sheetData>{cells}</sheetData>'
                                    '<drawing r:id="rId1"/></worksheet>',
        "xl/worksheets/_rels/sheet1.xml.rels": _rels(("rId1", "drawing", "../drawings/drawing1.xml", False)),
        "xl/drawings/drawing1.xml": f'<xdr:wsDr xmlns:xdr="{place_ns}" {_DRAWING_NS}>{anchor}</xdr:wsDr>',
        "xl/drawings/_rels/drawing1.xml.rels": _rels(("rId9", "image", f"{url}/logo.png", True)),
    })  # fmt: skip


def pdf(url: str, slug: str) -> bytes:
    """A PDF that opens the address when it is opened, and that shows it as a link."""
    shown = f"BT /F1 14 Tf 72 720 Td (Remote access: {word(slug, 'pdf', 14)}) Tj ET".encode()
    target = url.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").encode("ascii")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /URI /URI (" + target + b") >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> /Annots [6 0 R] >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(shown), shown),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Type /Annot /Subtype /Link /Rect [72 700 400 740] /Border [0 0 0] /A << /S /URI /URI ("
        + target + b") >> >>",
    ]  # fmt: skip
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)
