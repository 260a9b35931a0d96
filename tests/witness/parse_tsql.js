// SPDX-License-Identifier: Apache-2.0
// Parses T-SQL with antlr4ts-sql: lines of JSON {"function", "sample", "text"} come on standard
// input; of each, one line goes out: {"function", "sample", "batches": N, "errors": [TEXT...]}.
// A script for sqlcmd (tsql_grants) is cut into its batches; what it executes as a text of its own
// counts as one more.
'use strict';

const readline = require('readline');
const {
  antlr4tsSQL, SQLDialect, CaseChangingStream, CharStreams, CommonTokenStream, TSqlLexer, TSQLGrammar,
} = require('antlr4ts-sql');

// Grants that SQL Server knows and this grammar does not; one that it knows stands in for them.
const UNKNOWN_GRANTS = new RegExp('\\bGRANT (?:VIEW SERVER PERFORMANCE STATE|VIEW SERVER STATE'
  + '|VIEW ANY DEFINITION|CONNECT|CONTROL ON (?:CERTIFICATE|DATABASE)::\\[(?:[^\\]]|\\]\\])*\\])(?= TO)', 'g');

class Listener {
  constructor() {
    this.errors = [];
  }

  syntaxError(recognizer, symbol, line, column, message) {
    this.errors.push(`${line}:${column} ${message}`);
  }
}

function parse(text) {
  const listener = new Listener();
  const lexer = new TSqlLexer(new CaseChangingStream(CharStreams.fromString(text), true));
  lexer.removeErrorListeners();
  lexer.addErrorListener(listener);
  const parser = new TSQLGrammar.TSqlParser(new CommonTokenStream(lexer));
  parser.removeErrorListeners();
  parser.addErrorListener(listener);
  parser.tsql_file();
  return listener.errors;
}

// What sqlcmd makes batches of: GO lines end one, lines with a colon are for sqlcmd itself.
function scriptBatches(text) {
  const lines = text.split('\n').filter((line) => !line.startsWith(':'));
  const batches = lines.join('\n').split(/^GO$/m).filter((batch) => batch.trim() !== '');
  const executed = [...text.matchAll(/\b(?:sp_executesql |EXEC \()N'((?:[^']|'')*)'/g)];
  return batches.concat(executed.map((match) => match[1].replaceAll("''", "'")));
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { function: name, sample, text } = JSON.parse(line);
  const batches = name === 'tsql_grants' ? scriptBatches(text) : [text];
  const errors = batches.flatMap(
    (batch) => parse(batch.replaceAll(UNKNOWN_GRANTS, 'GRANT CONTROL SERVER')),
  );
  console.log(JSON.stringify({ function: name, sample, batches: batches.length, errors }));
});
