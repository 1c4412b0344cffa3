"""English words that another word becomes by one letter: "termination" and "germination".

A word of the quote that stands in this list was chosen, not mistyped. The list has base forms;
`is_word` knows their endings. Short words matter most, since few long ones have such a neighbour.
"""

from __future__ import annotations

_LIST = """
    ab abduct aboard about abroad abuse ace ache acre act ad adapt add addict addition adduct
    adept adopt adverse advice advise advisory aft age agent ago aid ail aim air alas ale alien
    align all allay alley allot allow alloy allusion ally alone along aloud also alter am amaze
    amen amenable amend amendable amid among amp ample an anal analysis annex annual annul ant
    anti antic ape appeal appendix apple apply appraise apprise apt arc arch are area arena
    argue arid arise ark arm army arose art article arties as ash aside ask asp ass assay assent
    assert assess asset assign assume assure at ate atom attach attack auction audio audit aunt
    aural auto avail aver averse avert avid avoid await awake award aware away awe awed awl
    awoke axe axis axle aye babe baby back bad badge bag bail bait bake bald bale ball balm ban
    banal band bane bang bank bar bard bare barge bark barn baron barrel barren base baseline
    bash basic basin basis bask bass baste bat batch bath bathe bay be beach bead beak beam bean
    bear beard beast beat bed bee beef been beep beer beet befit beg begin begun being bell
    belly belt bench bend bent berry berth beset best bet beta bias bib bid bide big bike bill
    bin bind birch bird birth bit bite black blade blame bland blank blare blast blaze bleach
    bleak bleed blend bless blew blind blink block blond blood bloom blot blow blown blue bluff
    blunt blur blurt board boast boat bod body bog boil bold bolt bomb bond bone bonus book boom
    boost boot booth bore born borne borrow boss both bottle bough bought bounce bound bout bow
    bowel bowl box boy brace brad brag braid brain braise brake bran branch brand brass brave
    breach bread break breast breath breathe bred breed brew bribe brick bride bridge bridle
    brief bright brim bring brink brisk broach broad broke broken brook broom broth brought brow
    brown brush brute buck bud budge budget buff bug build built bulb bulk bull bully bump bun
    bunch bunk buoy bur burn burst bury bus bush bust busy but butt button buy by bye byte cab
    cable cache cage cake calculate calf call calm came camp can candle cane cannon canon cant
    cap cape capita capital capitol caption car carat card care caress cargo carry cart carve
    case cash cask cast caste castle cat catch cattle caught cause caution cave cease cede ceil
    cell censor censure center cession chafe chain chair chalk chance change chant chaos chap
    chapter char charge charm chart chase chaste chat cheap cheat check cheek cheer chef chess
    chest chew chick chief child chill chime chin chip choir choke choose chop chord chore chose
    chosen chuck chunk cinder cite city civic civil clad claim clam clamp clan clap clash clasp
    class clause claw clay clean clear cleave clerk click cliff climb cling clip cloak clock
    clog clone close closet cloth clothe cloud clout clove clown club clue coach coal coarse
    coast coat cob cod coda code coed coil coin coke cola cold collar collect collision
    collusion colon color colour comb come comic comma command commence commend comment commerce
    commission commit committee commune commute compete complain complement complete complex
    compliment compose compute con concept concern concert condense condition conduct conduit
    cone confer confess confide confine confirm confirmation conform conformation connect
    consent constrict construct consul consult consultation contact contend content contest
    context continent contingent contract contrast contribute convene convent conversation
    convert cook cool cop cope copy copyright cord core cork corn corps corpse cost cot couch
    cough could count county course court cove covert cow coward crab crack craft cram cramp
    crane crank crash crate crave crawl craze cream crease create creed creek creep crept crest
    crew crib crime crisp crook crop cross crow crowd crown crude cruel crumb crush crust cry
    cub cube cue cuff cull cult cup curb cure curl currant current curse curt curve cut cute
    cycle cyst dab dad daily dairy daisy dam dame damn damp dance dare dark dart dash data date
    daunt dawn day daze dead deaf deal dear death debate debit debt decade decay decease deceive
    decent decide decision deck decrease dedication deed deem deep deer defeat defect defend
    defense defer deference defiance define definite defy degree del delay delegate delete
    deliver delivery demand demise demote den denial denote dense dent deny department depend
    deportment deprave deprecate depreciate depress deprive depth der derivation derive des
    descent deserve design desk detail detain detect detention deter detract deviation device
    devise devote dew dial diary dice diction did die died diet dig digit dike dill dim dime din
    dine dint dip dire direct director directory dirt disc discover discus dish disk dismal
    dismay disparage dispense disperse display dissent distract distribution ditch dive diverse
    divide divine division do doc dock doctor doe dog dole doll dome dominate don done donor
    doom door dose dot dote doubt dough dove down doze draft drag drain drama drank drape draw
    drawn dread dream dress drew drift drill drink drip drive driven drool drop drove drown drug
    drum drunk dry dual dub duck duct due duel duet duke dull duly dumb dump dune dunk dupe dusk
    dust duty dwell dye dying each eager ear earl early earn earth ease east easy eat ebb echo
    edge edict edit effect egg ego eights eject elapse elate elder elect electron elevate elf
    elite ell elm elope else elude email embed emend emerge emigrate emission emit emotion
    empire employ empty enable enact end endow endure enemy energy enjoy ensue ensure enter
    entice entire entry envelope envy eon epic equal equality equip era erase erect erode err
    error essay estate ester evaluable evaluate eve even event ever every evict evil evocation
    evoke evolve ewe exact exam exceed excel exception excise excite excuse executer executor
    exempt exercise exert exhibit exile exist exit exorcise expand expanse expect expel expend
    expense expensive expert expire explode explore express extend extensive extent extol extort
    extra eye fable face fact factor factory fad fade fail faint fair fairy faith fake fall
    false fame fan fancy fang far farce fare farm farther fast fasten fat fatal fate father
    fault favor favour fawn fear feast feat feather fed fee feed feel feet fell felon felt fence
    fern ferry fester fetch fever few fib fibre fickle fiction field fiend fig fight file fill
    film filter filth fin final finance find fine finger fir fire firm first fish fission fist
    fit fitness fix fixture flag flagrant flair flake flame flank flap flare flash flask flat
    flavor flaw flea fled flee fleet flesh flew flex flick flight fling flint flip flirt float
    flock flood floor flop flour flow flown flu fluid flung flush flute fly foal foam focal
    focus foe fog foil fold folk follow folly fond font food fool for force ford fore forge
    forget forgo fork form formal fort forth forum foster fought foul found fountain four fowl
    fox fragrant frail frame franc frank fraud freak free freight fresh fret friction friend
    fright frog from front frost froth frown froze fruit fry fuel full fully fume fun function
    fund funnel fur further fury fuse fuss future gag gain gale gall game gang gap garage garb
    gas gash gasp gate gather gauge gaunt gave gay gaze gear gel gem gender gene generate
    generic genetic genial genius genre genus germ germinate get ghost giant gift gig gild gill
    gin girl gist give given glad glance glare glass glaze gleam glean glee glide glint globe
    gloom glory gloss glove glow glue go goad goal goat god goes gold golf gone good goose gore
    gorge got gown grab grace gradation grade graduation graft grain gram grand grange grant
    grape graph grasp grass grate grave gravel gray graze grease great greed green greet grew
    grey grid grief grill grim grin grind grip groan groom groove grope ground group grove grow
    grown gruff grunt guard guess guest guide guild guilt guise gulf gull gulp gum gun gust gut
    guy habit hack had hail hair hale half halt ham hand handle hang happy harbor hard hardware
    hare harm harp harsh has hash haste hat hatch hate haul haunt have haven hawk hay hazard
    haze head headquarters heal health heap hear heard heart heat heath heave heaven heavy hedge
    heed heel height heir held hell helm help hem hen hence her herb herd here hereafter hereby
    herefor herein hereon hereto hereunder herewith hero hex hid hide high hike hill hilt him
    hind hinge hint hip hire his hit hitch hive hoard hoax hobby hoist hold hole holiday hollow
    holy home honey honor hood hook hoop hop hope horde horn horse hose host hostel hot hotel
    hound house hovel hover how howl hub hue hug huge hull hum human humane humble humor hump
    hunch hung hunt hurl hurry hurt hush husk hut hymn ice icon idea ideal identify identity
    idiom idle idol ilk ill illusion image imbue imitation imp impact impair impart impassable
    impassible impel imply imprudent impudent inch incite incur indemnify indemnity indent index
    indicate indite induce infect infer infest inflection info ingenious ingenuous ingest inject
    injure ink inland inn innovation input ins insert inspect instal install instil instill
    institute instruct insurance insure intellectual intend intent inter interaction intern
    internal internet interval into intro invent inventive inventor inventory invert invest
    invite ion ire irk iron irony island isle issue itch item its ivory jab jack jade jail jam
    jar jaw jazz jean jeep jelly jerk jest jet jewel job jog join joint joke jolly jolt joy
    judge jug juice jump junk jurisdiction juror jury just keel keen keep kept kettle key kick
    kid kill kin kind king kiss kit kite knack knead knee knell knew knife knight knit knob
    knock knot know known lab label labor labour lace lack lad lade laden lady lag laid lain
    lair lake lamb lame lamp lance lap lapse lard large lark las lash last latch late latent
    lateral lath laud laugh launch lava lawn laws lawyer lax layer lazy lead leaf leak lean leap
    learn lease leash least leather leave led ledge leech leer left leg legal legation lend lens
    lense lent les lesson lest let levee level lever levy liability liable liar libel liberal
    license licensee lick lid lie lied lien lieu life lift ligation light lightening lightning
    like limb lime limit limitation limp line linear linen link lint lion lip lisp list listen
    lit literal lithe litigation live load loaf loan lob lobby lobe local locale locate lock
    lode lodge loft log logic logo loin lone long look loom loop loose loot lop lord los lose
    lost lot loud louse love loyal luck lull lumber lump lunch lung lure lurk lush lust lute
    lynx lyric mace mad made magic maid mail maim main maize major make male mall malt man mane
    manor many map mar march mare marine mark market marriage marry marsh mart martial mash mask
    mason mass massive mast mat match mate maternal mature maul maxim may mayor maze mead meal
    mean meant meat media medial median mediation medic medical medication meditation meek meet
    meld melt memo men mend mental menu mercy mere merge merit merry mesh mess met metal mete
    meter method metre metro mettle mice might migration mild mile milk mill mime min mince mind
    mine minor mint minus mire mission mist mite mitigation mix moan moat mob mock mode model
    modem modest modify module moist mold mole money monitor monitory monk month mood moon moor
    moot mop morale more morn mortal mortar moss most mot mote motel moth motive motor motto
    mould mound mount mountain mourn mouse mouth move movie mow much mud muffle mug mule mull
    mumble murky muse mush music must mutate mute mutter mutton mutts myth nag nail naive naked
    name nap narrow nasal nation native naturally nature naught naval nave navel navy neap near
    neat neck need negotiate neon nerve nest net network neutral never new newly next nib nice
    niche nick niece nigh night nip noble nod node noise nominate nonce none nook noon noose nor
    norm normal north nose notable notation notch note notification noun novel null numb nun
    nurse nut nylon oaf oak oar oat oath obey object obligation observation occasion occur ocean
    odd ode odor off office officer offline oft often ohm oho oil old olive omen omission omit
    once one online only onset onto ooze opal open opera operate opinion opt optic oral oration
    orb orbit order ordinance ordnance organ other otter ought ounce our oust outer outs oval
    oven over overlay overt ovum owe owed owing owl own oxide pace pack packet pact pad page
    paid pail pain paint pair pal palace pale palm pan pane panel pang panic pant paper par
    pardon pare parent parity park parse parson part partial particle partition party pass
    passive past paste pasture pat patch patens patent paternal path patient patrol patron pause
    pave paw pawn pay payment pea peace peach peak peal pear pearl pedal peel peer peg pen penal
    pence pend pension pep per peril period perk person pert pest pet petty phage phase phone
    photo phrase pick picket pie piece pier pig pike pile pill pilot pin pinch pine pink pint
    pious pip pipe pit pitch pith pity pivot place plague plain plan plane planet plank plant
    plate play plaza plea plead please pledge plight plot plow ploy pluck plug plum plumb plume
    plump plural plus ply pocket pod poem poet point poise poison poke polar pole police polite
    poll pond pony pool poor pop pope poplar popular population porch pore pork port portal pose
    position positron post posture pot potent pouch pound pour power practice practise praise
    pray preach precede precious precise preclude precursor predict prefer preference prelude
    premise prescribe prescription present presentation preservation preserve president press
    presume pretty prevent preview prey price prick pride prime prince print prior prison
    private prize probe proceed process prod produce product profess project promise promote
    prompt prone proof prop propel properly property proportion proscribe proscription prose
    prospect prospectus protect protest proud prove provision prow prowl proxy prune pry pub
    publication puff pull pulp pulse pump pun punch punt pup pupil puppy purge purse pursuant
    pursue push put putt quack quake qualification qualify quality quart quartz queen quell
    query quest queue quick quiet quilt quit quite quiz quota quote race rack radar radical
    radio raft rag rage raid rail rain raise rake rally ram ramp ran ranch random rang range
    rank ransom rant rap rapid rapt rare rash rasp rat rate rather ratio rational rationale
    rattle rave raven raw ray raze razor reach react read ready reagent real reality realm
    realty ream reap rear reason rebate rebel rebut recede receive recent recession recipe
    recital recite recommend record recover recur red redaction redress reduction reed reef reek
    reel refer reference refine refraction refuge refuse refute regain regal regard regent
    regime region regress regulate regulator regulatory reign rein reject relate relax relay
    relegate relent relic relief relieve rely remain remand remind remission remit remodel
    remote remove rend renew rent rental repair reparation repay repeal repeat repel reply
    report repress resect resent reservation reserve reset reside resident resign resin
    resolution resolve resort respect respite respond rest restrict resume retail retain retard
    retention retort retract reuse reveal revel revenge revenue revere reverence reverse revert
    review revise revive revocation revoke revolution revolve reward rhyme rib rice rich rid
    ride ridge rifle rift rig right riles rim ring rinse riot rip ripe rise risen risk rite
    rival river road roam roar roast rob robe robin robot rock rocket rod rode rogue role roll
    roof rook room root rope rose rot rotate rough round rouse rout route row royal rub ruby
    rude ruffle rug ruin rule rum rumor run rung rural rush rust rut rye sac sack sad safe
    safety saga sage said sail saint sake salad salmon salon saloon salt salver same sand sane
    sang sank sap sat satin sauce save saw say scale scalp scan scant scar scare scarf scene
    scent schedule scheme scholar scion scold scoop scope score scorn scour scout scowl scrap
    scrape scream screen screw scrub sea seal seam search season seat secession second secret
    secretary secretory section sector sedition see seed seek seem seen seep seize select self
    sell send senior sense sensor sent separate serf series serious serous serum serve session
    set settle sever severe sew sex shack shade shaft shake shale shall shallow sham shame shape
    share shark sharp shave she shear shed sheep sheet shelf shell shelve shield shift shin
    shine ship shirt shock shoe shone shook shoot shop shore short shot shout shove show shown
    shred shrewd shriek shrill shrine shrink shrub shrug shut shy sick sickle side siege sieve
    sift sigh sight sign signal silk sill silly silt silver simile simmer simple simply sin
    since sing singe sink sip sir siren sit site situation six size skate ski skid skill skim
    skin skip skirt skull sky slab slack slain slam slap slash slate slave slay sled sleek sleep
    slept slice slick slid slide slight slim sling slip slit slope slot slow slug slum slump
    slur sly smack small smart smash smear smell smelt smile smith smoke smother smug snack snag
    snail snake snap snare snarl sneak sniff snob snore snow snug so soak soap soar sob sock
    socket sod soda sofa soft software soil solar sold soldier sole solid solo solution solve
    some son song soon soot sore sorrow sorry sort sought soul sound soup sour south sow space
    spade span spare spark sparse spat spawn speak spear specification speck sped speed spell
    spend spent spice spike spill spin spine spiral spire spit spite splash splice split spoil
    spoke spoon sport spot spout spray spring sprint spun spur spurn spurt spy squad squat squid
    stab stable stack staff stag stage stain stair stake stale stalk stall stamp stand staple
    star starch stare stark start starve stash state static stationary stationery statue stature
    status statute stave stay stead steady steak steal steam steel steep steer stem step stern
    stew stick stiff still sting stink stint stipulate stir stock stole stone stood stool stoop
    stop store stork storm story stout stove strain strait strand strap straw stray streak
    stream stress stride strife strike string strip stripe strive stroke strong strove struck
    strut stub stuck stud study stuff stumble stump stun stunt style sub sublet submit
    subscription substitute such suck sue suffer sugar suggest suit suite sulk sum summit sun
    sung sunk sup supervisory supple supply sure surf surge survey survive swallow swam swamp
    swan swap swarm sway swear sweat sweep sweet swell swept swerve swift swim swing swirl
    switch sword swore sworn syrup tab table tablet tack tact tad tag tail taint take taken tale
    talk tall tally tame tamper tan tang tangle tank tap tape tar tardy tart task taste tat
    tattle taught taunt taut tax taxi tea teach team tear tease tech ted tee teem teen teeth
    tell temper tempt ten tenable tend tenet tenor tense tent term terminal terminate terror
    test testate text than thank that thaw thee theft their them theme then thence there
    thereafter thereby therefor therefore therein thereon thereto thereunder therewith these
    they thick thicken thief thigh thin thing think third this thorn thorough those though
    thought thrash thread threat three threw thrill throat throb throne throng through throw
    thrown thrust thud thumb thump thus thyme tick ticket tickle tidal tide tidy tie tied tier
    tiger tight till tilt timber time timid tin tinge tingle tint tiny tip tire tissue title
    toad toast today toe toil token told toll tomb tone tonic too took tool tooth top topic
    torch tore torn tort toss total touch tough tour tout tow toward towel town toxic toy trace
    track tract trade trademark trail train trait tram tramp trance transact transit transmit
    trap trash travel tray tread treason treat tree trek trench trend tress trial tribe trice
    trick trifle trim trio trip trite troop tropic trot trough trout truck true truly trump
    trunk truss trust trustee truth try tub tube tuck tuft tug tumble tumor tuna tune tunic
    tunnel turf turn tusk tutor twain twin twine twirl twist two type typical ugly ulcer unable
    uncle und understand undo undue une unfit union unit unite unity university unload uno untie
    up upon upset urban urbane urge urine usage use used usual usurp utter vacation vague vain
    valet valley valor valuate value valve van vane vapor variation vary vase vast vat vault
    veal veer veil vein venal venial venom vent venue veracity verb verge verse very vest vet
    veto via viability viable vice victor view vigil vigor vile villa vindicate vine vinyl
    violate violent violet viral virus visa vision visit visor vital vivid vocal vocation voice
    volley volt von voracity vote vouch vow vowel wade wafer wag wage wail waist wait waive wake
    walk wall wan wand wane want war ward ware warm warn warp warrant warranty wart wary was
    wash wasp waste watch water watt wave wavier wax way weak weaken wealth wean wear weary
    weather weave web website wed wedge wee weed weep weigh weight weir weird weld well welt
    went were west wet whale wharf what wheat wheel when whence where whereas whereby wherefore
    wherein whet while whim whine whip whirl whisk whit white who whole whom whose why wick wide
    widen widow width wield wife wig wild wile will win wince wind window wine wing wink winter
    wipe wire wiry wise wish wisp wit witch with withdraw withheld withhold witness woe woke
    woks wolf woman womb women won wonder woo wood wool word wore work world worm worn worry
    worse worst worth would wound wove wow wrap wrath wreak wreath wreck wrench wrest wretch
    wring wrist writ write wrong wrote wrought yacht yard yarn yawn yea yeah year yearn yeast
    yell yelp yes yet yield yoga yoke yolk you young your youth zeal zebra zinc zip zone zoo
"""
_WORDS = frozenset(_LIST.split())
_ENDINGS = ("s", "es", "ed", "er", "ers", "ing", "ings", "ion", "ions", "ly")
_MIN_STEM = 3


def is_word(word: str) -> bool:
    """Return whether a word, in lower case, is known, or a form of a known one.

    >>> is_word("germination"), is_word("served"), is_word("agreemnt")
    (True, True, False)
    """
    return word in _WORDS or any(
        word.endswith(ending) and _is_stem(word[: -len(ending)], ending) for ending in _ENDINGS
    )


def _is_stem(stem: str, ending: str) -> bool:
    """Return whether a known word has this stem: "run" and "make" in "running" and "making"."""
    if len(stem) < _MIN_STEM + (ending == "ly"):
        return False
    if ending in ("s", "ly"):
        return stem in _WORDS
    double = stem[:-1] if stem[-1] == stem[-2] and ending != "es" else ""
    changed = f"{stem[:-1]}y" if stem[-1] == "i" and ending[0] == "e" else ""
    plain = stem if _takes(stem, ending) else ""
    return not _WORDS.isdisjoint((plain, f"{stem}e", double, changed))


def _takes(stem: str, ending: str) -> bool:
    """Return whether a word can have this ending as it is: "box" and "es", not "sail" and "es"."""
    if ending == "es":
        return stem.endswith(("s", "x", "z", "ch", "sh", "o"))
    return not stem[-1] == ending[0] == "e"
