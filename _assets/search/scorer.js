// What the book's search finds first: a section whose title was asked for stands before pages that merely hold the words.
// The other numbers are Sphinx's own.
var Scorer = {
  score: ([, , anchor, , score]) => score + (anchor ? 30 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
