"""Miniature copies of public chest sets in their published structure, with the messes that the real ones have."""

from __future__ import annotations

from pathlib import Path

from public_sets import film, write

PADCHEST_HEAD = (
    ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,Projection,"
    "ReportID,Report,MethodLabel,Labels\n"
)


def padchest(root: Path) -> None:
    """Two films of a study with the same report, an unchanged study, an excluded film, a birth in the future."""
    rows = (
        "0,1_a.png,0,20140915,S1,P1,1930.0,F,POSTEROANTERIOR,PA,R1,derram pleural izquierd . .,Physician,"
        "\"['pleural effusion', ' cardiomegaly']\"\n"
        "1,1_b.png,0,20140915,S1,P1,1930.0,F,LATERAL,L,R1,derram pleural izquierd . .,Physician,"
        "\"['pleural effusion', ' cardiomegaly']\"\n"
        "2,2_a.png,1,20140917,S2,P2,2020.0,M,,AP_horizontal,R2,sin cambi . .,RNN_model,\"['unchanged', 'pneumonia']\"\n"
        "3,3_a.png,1,20140918,S3,P3,,O,,EXCLUDE,R3,otra part . .,RNN_model,\"['exclude']\"\n"
        "4,4_a.png,1,20140918,S4,P4,1950.0,M,,PA,R4,normal . .,RNN_model,\"['normal']\"\n"
        "5,5_a.png,1,20140918,S5,P4,1950.0,M,,PA,R5,call . .,RNN_model,\"['callus rib fracture']\"\n"
        "6,6_a.png,1,20140918,S6,P5,1950.0,M,,PA,R6,,RNN_model,\n"
    )
    write(root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", PADCHEST_HEAD + rows)
    for path in ("0/1_a", "0/1_b", "1/2_a", "1/3_a", "1/4_a", "1/5_a", "1/6_a"):
        film(root / f"{path}.png", bits=16)


MIMIC_REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with dyspnea

 COMPARISON:  None.

 FINDINGS:

 There is a small left pleural effusion.

 IMPRESSION:

 Small left effusion.
"""


def mimic_cxr(root: Path) -> None:
    """JPG release with compressed tables; one film not fetched; a report whose films are not in the table."""
    write(
        root / "mimic-cxr-2.0.0-metadata.csv.gz",
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
        "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning\n"
        "02aa804e,10000032,50414267,CHEST (PA AND LAT),PA,3056,2544,21800506,213014.531,,postero-anterior,Erect\n"
        "174413ec,10000032,50414267,CHEST (PA AND LAT),LATERAL,3056,2544,21800506,213014.531,,lateral,Erect\n"
        "ffff0000,11000033,50000001,CHEST (PORTABLE AP),AP,3056,2544,21810506,213014.531,,antero-posterior,\n"
        "ffff0001,11000033,50000002,CHEST (PORTABLE AP),,3056,2544,21810507,213014.531,,,\n",
    )
    write(
        root / "mimic-cxr-2.0.0-split.csv.gz",
        "dicom_id,study_id,subject_id,split\n02aa804e,50414267,10000032,train\n174413ec,50414267,10000032,train\n"
        "ffff0000,50000001,11000033,test\nffff0001,50000002,11000033,validate\n",
    )
    names = "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,"
    write(
        root / "mimic-cxr-2.0.0-chexpert.csv.gz",
        f"subject_id,study_id,{names}No Finding,Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices\n"
        "10000032,50414267,,-1.0,0.0,,,,,,,1.0,,-1.0,0.0,1.0\n"
        "11000033,50000001,,,,,,,,,1.0,,,,,1.0\n",
    )
    write(root / "files/p10/p10000032/s50414267.txt", MIMIC_REPORT)
    write(root / "files/p11/p11000033/s50000001.txt", " FINAL REPORT\n No acute process.\n")
    write(root / "files/p12/p12000034/s59999999.txt", " FINAL REPORT\n Normal.\n")
    for path in (
        "p10/p10000032/s50414267/02aa804e",
        "p10/p10000032/s50414267/174413ec",
        "p11/p11000033/s50000001/ffff0000",
    ):
        film(root / f"files/{path}.jpg")


def _xml(uid: int, findings: str, impression: str, majors: tuple[str, ...], images: tuple[str, ...]) -> str:
    mesh = "".join(f"<major>{m}</major>" for m in majors)
    shown = "".join(
        f'<parentImage id="{i}"><panel type="single"><url>/x/{i}.jpg</url></panel></parentImage>' for i in images
    )
    return (
        f'<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR{uid}"/><MedlineCitation><Article><Abstract>'
        f'<AbstractText Label="COMPARISON">None.</AbstractText><AbstractText Label="INDICATION">Positive TB test</AbstractText>'
        f'<AbstractText Label="FINDINGS">{findings}</AbstractText><AbstractText Label="IMPRESSION">{impression}</AbstractText>'
        f"</Abstract></Article></MedlineCitation><MeSH>{mesh}</MeSH>{shown}</eCitation>"
    )


def iu_xray_xml(root: Path) -> None:
    """A normal study, one without text, one without images, one not indexed, a damaged and a malicious XML file."""
    reports = root / "NLMCXR_reports/ecgen-radiology"
    both = ("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001")
    write(reports / "1.xml", _xml(1, "Lungs clear. XXXX.", "Normal chest.", ("normal",), both))
    write(reports / "2.xml", _xml(2, "", "", ("Cardiomegaly/mild", "Pleural Effusion/left"), ("CXR2_IM-0652-1001",)))
    write(reports / "3.xml", _xml(3, "Clear.", "Normal.", ("normal",), ()))
    write(reports / "4.xml", _xml(4, "Clear.", "", ("no indexing",), ("CXR4_IM-2050-1001",)))
    write(reports / "5.xml", "<eCitation><Abstract>")
    write(
        reports / "6.xml",
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><eCitation>&c;</eCitation>',
    )
    for name in ("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001", "CXR2_IM-0652-1001", "CXR4_IM-2050-1001"):
        film(root / f"NLMCXR_png/{name}.png")


def iu_xray_csv(root: Path) -> None:
    """The CSV release; a report without images, and an image without report."""
    write(
        root / "indiana_reports.csv",
        "uid,MeSH,Problems,image,indication,comparison,findings,impression\n"
        '1,normal,normal,Xray Chest PA and Lateral,Positive TB test,None.,"Lungs are clear, heart normal.",Normal chest.\n'
        "2,Fractures; Bone/ribs;Scoliosis,Scoliosis,,,,Scoliosis is present.,\n"
        '3,"Fractures, Bone/ribs/left",x,,,,,Rib fractures.\n7,normal,normal,,,,Clear.,\n',
    )
    write(
        root / "indiana_projections.csv",
        "uid,filename,projection\n1,1_IM-0001-4001.dcm.png,Frontal\n1,1_IM-0001-3001.dcm.png,Lateral\n"
        "2,2_IM-0652-1001.dcm.png,Frontal\n3,3_IM-0652-1001.dcm.png,Frontal\n9,9_IM-0652-1001.dcm.png,Lateral\n",
    )
    for name in ("1_IM-0001-4001", "1_IM-0001-3001", "2_IM-0652-1001", "3_IM-0652-1001", "9_IM-0652-1001"):
        film(root / f"images/images_normalized/{name}.dcm.png")


CASIA_HEAD = (
    "ExamID,ImageID,PatientID,ImageDir,StudyDate,PatientAge,PatientGender,PatientPosition,PositionView,Projection,"
    "ProjectionMethod,ImageWidth,ImageHeight,ReportID,Findings,Indication,Comparison,Impression,,EndHere,#\n"
)


def casia_cxr(root: Path) -> None:
    """Windows-1252 and UTF-8 tables, placeholder rows, an examination in two classes, an image without ending."""
    one = (
        "E1,IMG1,PA1,CASIA-CXR_Cardiomegaly/Images,20200103,057Y,F,,PA,Postéro-antérieure,,2000,2000,R1,"
        "Cœur élargi / Index à 1/2 / Pas d'épanchement,Dyspnée,,Cardiomégalie.,,EndHere,#\n"
        "E2,IMG2.jpg,PA2,x,20200104,9M,M,,AP,,,2000,2000,R2,,Toux,,,,EndHere,#\n,,,,,,,,,,,,,,,,,,,EndHere,#\n"
    )
    two = (
        "E1,IMG1b.jpg,PA1,x,20200103,57 ans,F,,PA,,,2000,2000,R1,Épanchement pleural.,,,,,EndHere,#\n"
        "E3,IMG3.jpg,,x,,,,,,,,,,R3,Épanchement.,,,,,EndHere,#\n"
    )
    write(root / "CASIA-CXR_Cardiomegaly/CASIA-CXR_Cardiomegaly_Reports.csv", CASIA_HEAD + one, "cp1252")
    write(root / "CASIA-CXR_PleuralEffusion/CASIA-CXR_PleuralEffusion_Reports.csv", CASIA_HEAD + two, "utf-8-sig")
    film(root / "CASIA-CXR_Cardiomegaly/Images/IMG1.jpg")
    film(root / "CASIA-CXR_Cardiomegaly/Images/IMG2.jpg")
    film(root / "CASIA-CXR_PleuralEffusion/Images/IMG1b.jpg")
    film(root / "CASIA-CXR_PleuralEffusion/Images/IMG3.jpg")


def nih(root: Path) -> None:
    """Ages 0, "058Y", 412 and a word; a film twice; a film in no list; anisotropic and missing spacing."""
    rows = (
        "00000001_000.png,Cardiomegaly,0,1,058Y,M,PA,2682,2749,0.143,0.139,\n"
        "00000001_001.png,Cardiomegaly|Effusion,1,1,58,M,AP,2894,2729,0.143,0.143,\n"
        "00000002_000.png,No Finding,0,2,412,F,PA,2500,2048,0.168,0.168,\n"
        "00000003_000.png,Pneumonia,0,3,0,F,PA,2048,2048,0.168,0.168,\n"
        "00000003_000.png,Pneumonia,0,3,0,F,PA,2048,2048,0.168,0.168,\n"
        "00000004_000.png,,0,4,old,F,PA,,,,,\n"
        "00000005_000.png,Hernia,0,5,030Y,F,PA,2048,2048,0.168,0.168,\n"
    )
    head = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"
    )
    write(root / "Data_Entry_2017.csv", head + rows)
    write(
        root / "BBox_List_2017.csv",
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        "00000001_000.png,Cardiomegaly,256,512.0,128,256,,,\n00000009_000.png,Mass,1,2,3,4,,,\n",
    )
    write(root / "train_val_list.txt", "00000001_000.png\n00000001_001.png\n00000002_000.png\n")
    write(root / "test_list.txt", "00000003_000.png\n")
    for path in (
        "001/images/00000001_000",
        "001/images/00000001_001",
        "002/images/00000002_000",
        "002/images/00000003_000",
        "002/images/00000004_000",
    ):
        film(root / f"images_{path}.png")


def covid(root: Path) -> None:
    """CT slices among the films; a credit in the notes; a file name with an accent; a finding still to do."""
    write(
        root / "metadata.csv",
        "patientid,offset,sex,age,finding,survival,view,modality,date,location,folder,filename,doi,url,license,"
        "clinical_notes,other_notes,\n"
        '2,0,M,65,Pneumonia/Viral/COVID-19,Y,PA,X-ray,2020-01-22,"Cho Ray, Vietnam",images,auntminnie-a.jpg,,u,'
        '"CC BY-NC-SA","Patchy opacity. Credit to A. Person, B. Person",,\n'
        "2,3,M,65,Pneumonia/Viral/COVID-19,Y,AP Supine,X-ray,,x,images,auntminnie-b.jpg,,u,CC BY-NC-SA,,,\n"
        "4,,F,52,No Finding,,L,X-ray,,x,images,poumon-café.png,,u,,Clear lungs.,,\n"
        "5,,F,30,todo,,Axial,CT,,x,volumes,slice.nii.gz,,u,CC BY,,,\n",
    )
    for name in ("auntminnie-a.jpg", "auntminnie-b.jpg", "poumon-café.png"):
        film(root / "images" / name)


def montgomery(root: Path) -> None:
    """Windows line ends; a reading without film; masks."""
    base = root / "MontgomerySet"
    write(base / "ClinicalReadings/MCUCXR_0001_0.txt", "Patient's Sex: F\r\nPatient's Age: 027Y\r\nnormal\r\n")
    write(
        base / "ClinicalReadings/MCUCXR_0104_1.txt",
        "Patient's Sex: M \r\nPatient's Age: 061Y\r\nRUL infiltrate,\r\ncavitary. Active TB\r\n",
    )
    write(base / "ClinicalReadings/MCUCXR_0999_1.txt", "Patient's Sex: M\r\nPatient's Age: 061Y\r\nTB\r\n")
    for name in ("MCUCXR_0001_0", "MCUCXR_0104_1"):
        film(base / f"CXR_png/{name}.png")
    film(base / "ManualMask/leftMask/MCUCXR_0001_0.png")


def shenzhen(root: Path) -> None:
    """Irregular blanks, commas and units; a film without reading; a film with an odd name."""
    base = root / "ChinaSet_AllFiles"
    write(base / "ClinicalReadings/CHNCXR_0001_0.txt", "male 45yrs\nnormal")
    write(base / "ClinicalReadings/CHNCXR_0327_1.txt", "Female, 9 months\n\nSTB,  left\n")
    for name in ("CHNCXR_0001_0", "CHNCXR_0327_1", "CHNCXR_0328_1", "CHNCXR_x"):
        film(base / f"CXR_png/{name}.png")
