"""A short text in each of many languages, written for these tests: its sentences, in order."""

from __future__ import annotations

import random
import unicodedata

from zskd.text.scripts import core, join, units

TEXTS = {
    "German": [
        "Am 3. Oktober kam Frau Dr. Öztürk in Köln an.",
        "Ärger gab es nicht, z. B. mit dem Zoll.",
        "„Übermorgen fahre ich weiter.“",
        "Sie fragte: „Wie spät ist es?“",
        "Über 20 Leute lachten laut!",
        "5 von ihnen blieben sitzen.",
    ],
    "French": [
        "M. Dupont habite à Évreux depuis dix ans.",
        "Élise lui écrit souvent !",
        "« Être libre est difficile. »",
        "Où est passée la clé de la cave ?",
        "À midi il pleuvait encore…",
        "Ça ne dure jamais longtemps.",
    ],
    "Spanish": [
        "La Sra. Gómez vive cerca del río.",
        "¿Dónde está la vieja estación?",
        "¡Qué día tan largo ha sido!",
        "Ángel no contestó a nadie.",
    ],
    "Dutch": [
        "De boot lag drie dagen in de haven.",
        "Één man bleef de hele nacht aan boord.",
        "Was het water te hoog?",
    ],
    "Turkish": [
        "İki gün boyunca kar yağdı.",
        "Şehir sessizdi ve soğuktu.",
        "Çocuklar nerede oynuyordu?",
    ],
    "Polish": [
        "Łódź leży daleko od morza.",
        "Źle się tam nie mieszka.",
        "Czy pociąg już odjechał?",
    ],
    "Vietnamese": [
        "Hôm qua trời mưa rất to.",
        "Đường phố vắng người.",
        "Ông ấy có về nhà không?",
    ],
    "Greek": [
        "Ο ποταμός φούσκωσε τη νύχτα.",
        "Πού πήγαν όλοι οι ψαράδες;",
        "Έμειναν μόνο δύο βάρκες· οι άλλες χάθηκαν.",
        "Ώρα να φύγουμε κι εμείς!",
    ],
    "Russian": [
        "А. С. Пушкин родился в Москве.",
        "Дом на ул. Садовой давно снесли.",
        "— Куда ушёл последний поезд?",
        "Ёлка стояла у окна!",
        "«Это правда», сказал он.",
    ],
    "Ukrainian": [
        "Їхній дім стоїть біля річки.",
        "Євген приїхав учора ввечері.",
        "Чи є там міст?",
    ],
    "Armenian": [
        "Գետը բարձրացավ գիշերը։",
        "Ո՞վ տեսավ այդ նավը։",
        "Քաղաքը շատ հին է:",
        "Մենք գնացինք տուն։",
    ],
    "Georgian": [
        "წყალი ღამით ავიდა მაღლა.",
        "სად წავიდა ყველა მეთევზე?",
        "ქალაქი ძალიან ძველია!",
    ],
    "Arabic": [
        "ارتفع النهر في الليل.",
        "هل رأى أحد السفينة القديمة؟",
        "المدينة صغيرة وهادئة جدا!",
        "ذَهَبَ الوَلَدُ إِلَى البَيْتِ.",
    ],
    "Persian": [
        "رودخانه دیشب بالا آمد.",
        "چه کسی قایق را دید؟",
        "آن‌ها به خانه می‌روند.",
    ],
    "Urdu": [
        "دریا رات کو چڑھ گیا۔",
        "کیا کسی نے پرانی کشتی دیکھی؟",
        "شہر بہت چھوٹا ہے۔",
    ],
    "Hebrew": ["הנהר עלה בלילה מאוד.", "מי ראה את הסירה הישנה?", "העיר קטנה ושקטה!"],
    "Hindi": [
        "नदी रात में बहुत बढ़ गई।",
        "क्या किसी ने पुरानी नाव देखी?",
        "शहर छोटा और शांत है।",
        "हम सब घर चले गए |",
        "फिर बारिश हुई ॥",
    ],
    "Bengali": [
        "রাতে নদীর জল বেড়ে গেল।",
        "কেউ কি পুরানো নৌকাটি দেখেছে?",
        "শহরটি খুব ছোট।",
    ],
    "Tamil": [
        "இரவில் ஆறு மிகவும் உயர்ந்தது.",
        "பழைய படகை யார் பார்த்தார்கள்?",
        "நகரம் மிகவும் சிறியது.",
    ],
    "Amharic": ["ወንዙ ሌሊት በጣም ሞላ።", "አሮጌውን ጀልባ ማን አየ፧", "ከተማዋ ትንሽ እና ጸጥተኛ ናት።"],
    "Korean": ["어제 밤에 강물이 크게 불었다.", "오래된 배를 누가 보았습니까?", "작은 도시는 아주 조용하다!"],
    "Chinese": [
        "昨天夜里河水涨得很高。",
        "谁看见那条旧船了？",
        "这个城市很小！",
        "他说：“我们明天回家吧。”",
        "我用 Python 写了三个程序。",
    ],
    "Japanese": [
        "昨夜、川の水がとても増えた。",
        "古い船を見た人はいますか？",
        "「明日は家に帰ります。」と彼は言った。",
        "コンピューターが壊れた！",
    ],
    "Burmese": ["ညက မြစ်ရေ အလွန်တက်လာသည်။", "မြို့သည် အလွန်သေးငယ်သည်။"],
    "Khmer": [
        "ទន្លេបានឡើងខ្ពស់នៅយប់នេះ។",
        "តើនរណាបានឃើញទូកចាស់នោះ?",
        "ទីក្រុងនេះតូចណាស់។",
    ],
    "Tibetan": ["ཆུ་བོ་མཚན་མོ་ཆེན་པོ་ཆགས་སོང་།", "གྲོང་ཁྱེར་འདི་ཆུང་ཆུང་རེད།"],
}

# Thai and Lao have no end marks, so these are phrases.
PHRASES = {
    "Thai": [
        "เมื่อคืนนี้น้ำในแม่น้ำขึ้นสูงมากจนท่วมถนนทุกสาย",
        "ชาวประมงทุกคนออกไปหาเรือเก่าที่หายไปเมื่อเช้านี้",
        "เมืองนี้เล็กและเงียบสงบมากแต่ผู้คนใจดีกับทุกคน",
    ],
    "Lao": [
        "ຄືນວານນີ້ນ້ຳໃນແມ່ນ້ຳຂຶ້ນສູງຫຼາຍຈົນຖ້ວມຖະໜົນທຸກສາຍ",
        "ຊາວປະມົງທຸກຄົນອອກໄປຊອກຫາເຮືອເກົ່າທີ່ຫາຍໄປໃນຕອນເຊົ້າ",
    ],
}


def passage(language: str) -> str:
    """The sentences of a language as one passage, with the spaces that its script has."""
    if language in PHRASES:
        return " ".join(PHRASES[language])
    text = TEXTS[language]
    return ("" if language in ("Chinese", "Japanese") else " ").join(text)


def varied(language: str, lines: int, seed: int = 0) -> list[str]:
    """Distinct sentences of the words of a language in another order, each with a number in it."""
    rng, sentences = random.Random(seed), {**TEXTS, **PHRASES}[language]
    words = list(dict.fromkeys(core(unit) for sentence in sentences for unit in units(sentence) if core(unit)))
    end = sentences[0][-1] if unicodedata.category(sentences[0][-1]) == "Po" else ""
    made: dict[str, None] = {}
    while len(made) < lines:
        text = (
            join([rng.choice(words) for _ in range(4)] + [str(rng.randint(100, 9999))] + rng.choices(words, k=4)) + end
        )
        made[text[0].upper() + text[1:]] = None
    return list(made)
