//! The quick look at a text against the whole one.

use std::sync::LazyLock;

use proptest::prelude::*;
use strum::VariantArray as _;

use super::*;
use crate::domain::samples::matching;

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    Words::new(
        &list("não informado,undefined,not provided,a confirmar,n/a,unknown"),
        &list("nada,none,null,sem nome"),
        &list("a"),
    )
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// A text that is not looked at closely is not a phrase.
    #[test]
    fn quick_look_misses_no_phrase(
        text in matching("[\"(*_ -]{0,2}(n[aãAÃ]o|NÃO|nada|undefined|Undefined|sem|nome|Nome|none|n/a|A|informado|[a-z]{1,9}|\\PC)([ _/.-]?(n[aã]o|nada|undefined|informado|nome|none|n/a|\\PC)){0,2}[.)!]{0,2}|\\PC{0,12}")
    ) {
        let words = &*WORDS;
        if words.candidate(&text).is_none() {
            let bare = bare(&text);
            let whole = Candidate { text: &text, bare, spelled: spelled(bare) };
            for field in Field::VARIANTS {
                prop_assert!(!words.cover(*field, &whole) && !words.name(*field, &whole), "{} {}", field, text);
            }
        }
    }
}
