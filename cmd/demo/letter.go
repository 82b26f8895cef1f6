package main

import (
	"embed"
	"encoding/csv"
	"fmt"
	"strings"

	"postern/internal/client"
)

// letterFiles are what the demo sends, and to whom.
//
//go:embed letter
var letterFiles embed.FS

// loadPeople reads the contacts file, whose header row names the fields, and
// repeats its people under further addresses until there are n.
func loadPeople(n int) ([]client.Contact, error) {
	file, err := letterFiles.Open("letter/contacts.csv")
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return nil, err
	}
	header, rows := rows[0], rows[1:]
	people := make([]client.Contact, max(n, len(rows)))
	for i := range people {
		person := client.Contact{}
		for j, field := range header {
			person[field] = rows[i%len(rows)][j]
		}
		if round := i / len(rows); round > 0 {
			person["email"] = strings.Replace(rows[i%len(rows)][0], "@", fmt.Sprintf("+%d@", round), 1)
		}
		people[i] = person
	}
	return people, nil
}

// letter is the campaign that the demo sends.
func letter() (client.Campaign, error) {
	c := client.Campaign{
		Name:    "Demo",
		From:    "Riverton Water Authority <notices@water.riverton.example>",
		Subject: `{{ first_name | default: "Neighbour" }}, your water supply next week`,
		Attachments: []client.Attachment{
			{Filename: "leaflet.pdf", ContentType: "application/pdf"},
			{Filename: "emblem.png", ContentType: "image/png"},
		},
	}
	body, err := letterFiles.ReadFile("letter/letter.html")
	if err != nil {
		return c, err
	}
	c.Body = string(body)
	for i := range c.Attachments {
		a := &c.Attachments[i]
		if a.Content, err = letterFiles.ReadFile("letter/" + a.Filename); err != nil {
			return c, err
		}
	}
	return c, nil
}
