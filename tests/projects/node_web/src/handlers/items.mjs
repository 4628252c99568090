// The items, in the place of a table: the function needs no package of npm.
export const items = [
  { id: "id1", name: "name1" },
  { id: "id2", name: "name2" },
];
